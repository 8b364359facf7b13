"""Counts visits in redis: one GET, one INCR. Nothing but the standard library."""

import http.server
import os
import socket
import time

REDIS_HOST, REDIS_PORT = os.environ["REDIS"].split(":")


# A redis that has only just started says -LOADING while it reads its file.
LOADING_BOUND_S = 30


def redis(*words):
    """Like redis_once, but waits for a redis that still reads its file."""
    end = time.monotonic() + LOADING_BOUND_S
    while True:
        try:
            return redis_once(*words)
        except RuntimeError as error:
            if "LOADING" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.005)


def redis_once(*words):
    """Sends one command and returns its integer reply (RESP, redis.io/docs/reference/protocol-spec)."""
    request = b"*%d\r\n" % len(words)
    for word in words:
        data = word.encode()
        request += b"$%d\r\n%s\r\n" % (len(data), data)
    with socket.create_connection((REDIS_HOST, int(REDIS_PORT)), timeout=30) as connection:
        connection.sendall(request)
        reply = connection.makefile("rb").readline().decode().strip()
    if not reply.startswith(":"):
        raise RuntimeError(f"redis answered {reply!r}")
    return int(reply[1:])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            self.send_error(404)
            return
        try:
            status, text = 200, f"Hello, visitor {redis('INCR', 'visits')}.\n"
        except (OSError, RuntimeError) as error:
            status, text = 502, f"The counter does not answer: {error}\n"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
