"""A headless Chromium, driven through its chromedriver (W3C WebDriver)."""

import base64
import json
import pathlib
import re
import shutil
import subprocess
import urllib.error
import urllib.request

from cluster import DEADLINE_S, wait_until

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Space": "\ue00d", "PageDown": "\ue00f",
        "End": "\ue010", "Home": "\ue011", "Up": "\ue013", "Down": "\ue015", "Shift": "\ue008"}
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-extensions"]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    def __init__(self, profile, width=1440, height=1000):
        self.log = open(pathlib.Path(profile) / "chromedriver.log", "a+")
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=self.log, stderr=subprocess.STDOUT)
        self.session = ""
        try:
            port = wait_until(self._port, "chromedriver listens")
            self.base = f"http://127.0.0.1:{port}"
            options = {"binary": CHROMIUM, "args": [*OPTIONS, f"--user-data-dir={profile}/chromium"]}
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.session = f"/session/{made['sessionId']}"
            self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                     mobile=False)
        except BaseException:
            self.close()
            raise

    def _port(self):
        self.log.seek(0)
        found = re.search(r"successfully on port (\d+)", self.log.read())
        return int(found[1]) if found else None

    def _call(self, method, path, body=None):
        request = urllib.request.Request(self.base + self.session + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        try:
            with DIRECT.open(request, timeout=DEADLINE_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode(errors='replace')[:500]}") from None

    def cdp(self, command, **params):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def url(self):
        return self._call("GET", "/url")

    def js(self, script, *args):
        return self._call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def js_async(self, script, *args):
        """`script` calls its last argument with the result."""
        return self._call("POST", "/execute/async", {"script": script, "args": list(args)})

    def wait(self, script, what, *args):
        return wait_until(lambda: self.js(f"return {script}", *args), what)

    def press(self, *keys):
        """One key after the other, to whatever has the focus."""
        actions = []
        for key in keys:
            value = KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def click(self, css):
        """As a mouse does, in the middle of what is there."""
        found = self._call("POST", "/element", {"using": "css selector", "value": css})
        self._call("POST", f"/element/{next(iter(found.values()))}/click", {})

    def click_at(self, x, y):
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [
            {"type": "pointerMove", "x": int(x), "y": int(y)},
            {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]}]})

    def media(self, **features):
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def complaints(self):
        """What our page had to say on the console since the last look, but failed requests."""
        return [line["message"] for line in self._call("POST", "/se/log", {"type": "browser"})
                if line["source"] != "network" and not line["message"].startswith("chrome")]

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self):
        try:
            if self.session:
                self._call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(DEADLINE_S)
            self.log.close()
