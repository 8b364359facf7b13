"""im dashboard: its addresses, and the page in a browser, of a cluster that lives.

IM_SHOTS=FOLDER leaves screenshots there.
"""

import http.client
import json
import os
import pathlib
import shutil
import stat
import tempfile
import unittest
import urllib.parse

from browser import CHROMIUM, DRIVER, Browser
from cluster import PEER, Cluster, ClusterTest, wait_until

AXE = pathlib.Path(__file__).resolve().parents[2] / ".cache/web/node_modules/axe-core/axe.min.js"
SHOTS = os.environ.get("IM_SHOTS")
MANY = 9_997

SPEC = f"""
network: {{cidr: 10.77.0.0/24}}
defaults: {{idle: {{after: 10m, release_after: 10m}}}}
hosts:
  web: {{command: [{PEER}, serve, --echo, "7000"], idle: {{after: 300ms}}}}
  db: {{command: [{PEER}, serve, --echo, "7000"]}}
  bad: {{command: [/nonexistent/program]}}
"""
MANY_SPEC = f"""
network: {{cidr: 10.64.0.0/12}}
defaults: {{idle: {{after: 10m, release_after: 10m}}}}
hosts:
  web: {{command: [{PEER}, serve, --echo, "7000"]}}
  app: {{command: [{PEER}, serve, --echo, "7000"]}}
  db: {{command: [{PEER}, serve, --echo, "7000"]}}
  worker: {{replicas: {MANY}, command: [{PEER}, serve, --echo, "7000"]}}
"""

# What the row of a host says; null: there is none.
ROW = """(name => {
  const row = [...document.querySelectorAll('.rows .row')].find(r => r.querySelector('b').textContent === name);
  return row ? row.querySelector('.state').firstChild.textContent.trim() : null;
})(arguments[0])"""


def ask(url, method="GET", path="/", **headers):
    """The status and the body of an answer."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Addresses(ClusterTest):
    def test_the_page_is_served_when_it_is_asked_for_and_acts_with_the_token_alone(self):
        c = self.cluster(SPEC).up()
        self.assertFalse((c.state_dir / "dashboard.token").exists())
        url = c.im("dashboard").stdout.strip()
        self.assertRegex(url, r"^http://127\.0\.0\.1:9601/#token=[0-9a-f]{64}$")
        self.assertEqual(c.im("dashboard").stdout.strip(), url)
        self.assertEqual(c.im("dashboard", "--read-only").stdout.strip(), url.partition("#")[0])
        self.assertEqual(json.loads(c.im("dashboard", "--json").stdout)["url"], url)
        self.assertEqual(stat.S_IMODE((c.state_dir / "dashboard.token").stat().st_mode), 0o600)

        token = url.partition("=")[2]
        self.assertEqual(ask(url)[0], 200)
        self.assertEqual(ask(url, Host="rebound.example")[0], 421)
        self.assertEqual(ask(url, "POST", "/api/hosts/db/wake")[0], 401)
        self.assertEqual(c.state("db"), "imaginary")
        bearer = f"Bearer {token}"
        self.assertEqual(ask(url, "POST", "/api/hosts/db/wake", Authorization=bearer)[0], 202)
        c.wait_state("db", "running")
        status, body = ask(url, "POST", "/api/hosts/nobody/wake", Authorization=bearer)
        self.assertEqual(status, 404)
        self.assertIn('no host \\"nobody\\"', body)

        taken = c.im("dashboard", "--listen", "127.0.0.1:9602", check=False)
        self.assertEqual(taken.returncode, 1)
        self.assertIn("the dashboard is at 127.0.0.1:9601 already", taken.stderr)
        self.assertIn("expected ADDRESS:PORT", c.im("dashboard", "--listen", "here", check=False).stderr)
        c.im("down")
        self.assertFalse((c.state_dir / "dashboard.token").exists(), "nothing is left")

    def test_a_second_cluster_takes_another_port_and_up_may_name_one(self):
        first, second = self.cluster(SPEC, "one"), self.cluster(SPEC, "two")
        first.im("up", "-d", "--http", "127.0.0.1:9601", str(first.spec))
        self.assertEqual(ask("http://127.0.0.1:9601")[0], 200)
        second.up()
        url = second.im("dashboard").stdout.strip()
        self.assertNotIn(":9601/", url)
        self.assertEqual(ask(url)[0], 200)


@unittest.skipUnless(CHROMIUM and DRIVER, "not installed: chromium, chromium-driver")
class Page(ClusterTest):
    """One cluster and one browser for all: what takes time is their start."""

    @classmethod
    def setUpClass(cls):
        cls.profile = tempfile.mkdtemp(prefix="im-browser-", dir="/var/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.profile, ignore_errors=True)
        cls.browser = Browser(cls.profile)
        cls.addClassCleanup(cls.browser.close)
        cls.c = Cluster(SPEC, "page")
        cls.addClassCleanup(cls.c.close)
        cls.c.up()
        cls.url = cls.c.im("dashboard").stdout.strip()

    def open(self, url=None):
        b = self.browser
        b.open("about:blank")
        b.open(url or self.url)
        if "without its page" in b.js("return document.body.textContent"):
            self.skipTest("imd was built without its page, as npm is missing")
        b.wait("document.querySelectorAll('.rows .row').length >= 3", "the hosts are there")
        return b

    def await_row(self, host, state):
        self.browser.wait(f"{ROW} === arguments[1]", f"{host} is shown as {state}", host, state)

    def shot(self, name):
        if SHOTS:
            self.browser.screenshot(pathlib.Path(SHOTS) / f"{name}.png")

    def tearDown(self):
        self.assertEqual(self.browser.complaints(), [])

    def test_hosts_appear_start_and_pause_as_they_do(self):
        c, b = self.c, self.open()
        self.assertNotIn("token", b.url(), "it does not stay in the address")
        self.assertEqual(b.js("return document.title"), f"{c.name} · Imaginary Machines")
        b.wait("document.querySelector('.badges').textContent.includes('may act')", "the token is known")
        self.await_row("web", "imaginary")
        drive = c.drive()
        self.assertTrue(drive("connect 1 web 7000")["ok"])
        self.assertTrue(drive("ping 1 1")["ok"])
        self.await_row("client", "running")
        b.wait("[...document.querySelectorAll('.side .events li')].some(l => /web.*running.*SYN from client/"
               ".test(l.textContent))", "the event is told")
        self.await_row("web", "paused")
        b.click(".chip[title^='frozen']")
        b.wait("document.querySelectorAll('.rows .row').length === 1", "the paused ones alone")
        b.click(".chip[title^='frozen']")
        drive("close 1")
        drive.close()
        b.wait(f"{ROW} === null", "the guest has left", "client")

    def test_a_guest_that_leaves_before_it_was_drawn(self):
        # Canvases are drawn some time after the rows: a message may come between. To say
        # it just then, the page's own stream is kept in reach.
        keeping = self.browser.cdp("Page.addScriptToEvaluateOnNewDocument", source="""
            window.EventSource = class extends EventSource {
              constructor(...given) { super(...given); window.stream = this; }
            };""")
        self.addCleanup(self.browser.cdp, "Page.removeScriptToEvaluateOnNewDocument", **keeping)
        b = self.open()
        left = b.js_async("""const done = arguments[arguments.length - 1];
            const say = (row) => window.stream.dispatchEvent(new MessageEvent('hosts', {data: JSON.stringify([row])}));
            const rows = () => [...document.querySelectorAll('.rows .row b')].map(b => b.textContent);
            new MutationObserver((_, observer) => {
              if (!rows().includes('brief')) return;
              observer.disconnect();
              say({id: 1e6, gone: true});
              done(rows());
            }).observe(document.querySelector('.rows'), {childList: true, subtree: true});
            say({id: 1e6, name: 'brief', address: '10.1.255.9', state: 'running', since: Date.now(), guest: true});""")
        self.assertIn("brief", left, "it left while its row was there")
        self.browser.wait(f"{ROW} === null", "the guest has left", "brief")

    def test_why_a_host_is_up_and_waking_and_releasing_it(self):
        b = self.open()
        b.js("""[...document.querySelectorAll('.rows .row')]
                .find(r => r.querySelector('b').textContent === 'db').click()""")
        b.wait("document.querySelector('#detail-name').textContent === 'db'", "db is open")
        b.click(".act:nth-child(1)")
        self.await_row("db", "running")
        self.c.wait_state("db", "running")
        b.wait("/im wake/.test(document.querySelector('.why').textContent)", "the cause")
        b.wait("/pauses in/.test(document.querySelector('.why').textContent)", "what is next")
        b.wait("document.querySelector('[role=status]').textContent.includes('db')", "it is said, too")
        b.click(".act:nth-child(2)")
        self.await_row("db", "paused")
        b.click(".act:nth-child(3)")
        self.await_row("db", "imaginary")
        self.assertEqual(self.c.state("db"), "imaginary")

    def test_a_start_that_fails_says_why(self):
        b = self.open()
        b.js("""[...document.querySelectorAll('.rows .row')]
                .find(r => r.querySelector('b').textContent === 'bad').click()""")
        b.wait("document.querySelector('#detail-name').textContent === 'bad'", "bad is open")
        b.click(".act:nth-child(1)")
        b.wait("/nonexistent.*No such file/.test(document.querySelector('.detail').textContent)", "the error")

    def test_without_the_token_one_may_look_alone(self):
        b = self.open()
        b.js("sessionStorage.clear()")
        self.open(self.url.partition("#")[0])
        b.wait("document.querySelector('.badges').textContent.includes('read-only')", "it says so")
        b.click(".rows .row")
        b.wait("document.querySelectorAll('.act').length === 3", "a host is open")
        self.assertEqual(b.js("return [...document.querySelectorAll('.act')].every(b => b.disabled)"), True)
        status = b.js_async("""const done = arguments[arguments.length - 1];
            fetch('/api/hosts/web/wake', {method: 'POST'}).then(r => done(r.status), e => done(String(e)))""")
        self.assertEqual(status, 401)

    def test_by_keyboard_alone(self):
        b = self.open()
        focus = "document.activeElement"
        b.press("Tab")
        self.assertEqual(b.js(f"return {focus}.className"), "skip", "first of all a way past everything")
        for _ in range(20):
            b.press("Tab")
            if b.js(f"return {focus}.matches('.rows .row')"):
                break
        self.assertEqual(b.js(f"return {focus}.querySelector('b').textContent"), "web")
        self.assertNotEqual(b.js(f"return getComputedStyle({focus}).outlineStyle"), "none", "one sees where one is")
        b.press("Down")
        b.wait(f"{focus}.querySelector('b')?.textContent === 'db'", "the next row")
        b.press("End", "Home", "Down", "Enter")
        b.wait(f"{focus}.id === 'detail-name' && {focus}.textContent === 'db'", "db is open, and has the focus")
        b.press("Tab", "Tab")
        self.assertTrue(b.js(f"return {focus}.matches('.act')"))
        b.press("Escape")
        b.wait("!document.querySelector('.detail')", "it is closed")
        self.assertEqual(b.js(f"return {focus}.querySelector('b')?.textContent"), "db", "back where one was")

    @unittest.skipUnless(AXE.exists(), "not installed: axe-core (npm ci)")
    def test_it_keeps_the_rules_for_everybody(self):
        b = self.open()
        b.js("document.querySelectorAll('.rows .row')[1].click()")
        b.wait("!!document.querySelector('.why')", "a host is open")
        for scheme in "light", "dark":
            b.media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            b.js(AXE.read_text())
            found = b.js_async("""const done = arguments[arguments.length - 1];
                axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
                   .then(r => done(r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.target + ' ' +
                                   n.any.map(a => a.message)).join(' | '))), e => done([String(e)]))""")
            self.assertEqual(found, [], scheme)
            self.shot(scheme)
        b.media()

    def test_it_goes_on_with_an_imd_that_was_restarted(self):
        b = self.open()
        os.kill(self.c.imd_pid(), 9)
        b.wait("document.querySelector('.badge').textContent.includes('does not answer')", "it says so")
        wait_until(lambda: self.c.im("up", "-d", "--http", "127.0.0.1:9601", str(self.c.spec),
                                     check=False).returncode == 0, "imd is back")
        b.wait("document.querySelector('.badge').textContent === 'live'", "it goes on")
        b.wait("document.querySelector('.badges').textContent.includes('may act')", "with the same token")
        self.await_row("web", self.c.state("web"))


@unittest.skipUnless(CHROMIUM and DRIVER, "not installed: chromium, chromium-driver")
class ManyHosts(ClusterTest):
    def test_ten_thousand_hosts(self):
        c = self.cluster(MANY_SPEC).up()
        url = c.im("dashboard").stdout.strip()
        with tempfile.TemporaryDirectory(prefix="im-browser-", dir="/var/tmp", ignore_cleanup_errors=True) as profile:
            b = Browser(profile)
            try:
                b.open(url)
                if "without its page" in b.js("return document.body.textContent"):
                    self.skipTest("imd was built without its page, as npm is missing")
                b.wait("document.querySelector('.hosts')?.getAttribute('aria-rowcount') === arguments[0]",
                       "all hosts are there", str(MANY + 4))
                self.assertLess(b.js("return document.querySelectorAll('.rows .row').length"), 40, "few rows exist")
                drive = c.drive()
                self.assertTrue(drive(f"connect 1 worker-{MANY} 7000")["ok"])
                b.wait("document.querySelector('.hosts').getAttribute('aria-rowcount') === arguments[0]",
                       "and the client", str(MANY + 5))
                b.js("document.querySelector('.rows .row').focus()")
                b.press("End")
                b.wait("document.activeElement.querySelector('b')?.textContent === 'client'", "the last row")
                b.press("Up")
                b.wait("document.activeElement.querySelector('b')?.textContent === arguments[0]", "the one before",
                       f"worker-{MANY}")
                b.wait(f"{ROW} === 'running'", "it runs", f"worker-{MANY}")
                b.js("document.querySelector('input[type=search]').focus()")
                b.press(*"worker-500")
                b.wait("document.querySelector('.hosts').getAttribute('aria-rowcount') === '12'",
                       "worker-500 and worker-5000 to 5009, and the head")
                if SHOTS:
                    b.press(*["\ue003"] * 10)  # Backspace
                    for host in "web", "app", "db", *(f"worker-{i * 97}" for i in range(1, 24)):
                        c.im("wake", host)
                        self.assertTrue(drive(f"connect 2 {host} 7000")["ok"] and drive("ping 2 400")["ok"])
                        drive("close 2")
                    b.wait("document.querySelectorAll('.rows .row').length > 5", "all are shown")
                    b.screenshot(pathlib.Path(SHOTS) / "many.png")
                self.assertEqual(b.complaints(), [])
            finally:
                b.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
