"""What is asked of the application: a few friends at first, then wrk."""

import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

USERS = 20


def ask(base, path, **form):
    """GET, or POST of `form`; the answer's text. Anything but 200 is an exception."""
    data = urllib.parse.urlencode(form).encode() or None
    try:
        with urllib.request.urlopen(base + path, data=data, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{path} {form}: {error} {error.read().decode()}") from None


def seed(base):
    """Each user is followed by the next five, and writes ten posts."""
    for user in range(USERS):
        for other in range(user + 1, user + 6):
            ask(base, "/follow", user=f"u{user}", follower=f"u{other % USERS}")
    for post in range(10):
        for user in range(USERS):
            ask(base, "/post", user=f"u{user}", text=f"Post {post}, see http://example.org/{post}")


def wrk(kind, connections, seconds, prefix=()):
    """Figures of one load: requests a second, latencies in ms, requests that failed."""
    what = {"read": ["http://front/timeline?user=u7"], "write": ["-s", "post.lua", "http://front"]}[kind]
    said = subprocess.run([*prefix, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency",
                           *what], check=True, stdout=subprocess.PIPE, text=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return {"per_s": float(re.search(r"Requests/sec: +([\d.]+)", said).group(1)),
            "p50_ms": milliseconds(said, "50%"), "p99_ms": milliseconds(said, "99%"),
            "failed": int(failed.group(1) if failed else 0) + sum(map(int, errors.groups() if errors else ()))}


def milliseconds(said, share):
    number, unit = re.search(rf"{share} +([\d.]+)(us|ms|s)\b", said).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
