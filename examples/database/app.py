"""Counts visits in PostgreSQL, over a pool of connections that stay open."""

import contextlib
import http.server
import os
import threading
import time

import psycopg2
import psycopg2.pool

SIZE = int(os.environ["POOL"])
STARTING_BOUND_S = 30
made = 0


class Counted(psycopg2.extensions.connection):
    def __init__(self, *args, **kwargs):
        global made
        super().__init__(*args, **kwargs)
        made += 1


def connect():
    """The whole pool. A PostgreSQL that has only just started says so while it gets ready."""
    end = time.monotonic() + STARTING_BOUND_S
    while True:
        try:
            return prepare(psycopg2.pool.ThreadedConnectionPool(
                SIZE, SIZE, os.environ["DATABASE"], connection_factory=Counted))
        except psycopg2.OperationalError as error:
            if "starting up" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def prepare(pool):
    with borrowed(pool) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS visits (n integer)")
        cursor.execute("INSERT INTO visits SELECT 0 WHERE NOT EXISTS (SELECT FROM visits)")
    return pool


@contextlib.contextmanager
def borrowed(pool):
    """A connection for one transaction."""
    connection = pool.getconn()
    try:
        with connection:
            yield connection
    finally:
        pool.putconn(connection)


class Handler(http.server.BaseHTTPRequestHandler):
    pool = None
    lock = threading.Lock()  # for the pool's first use, and for its replacement

    def answer(self):
        with Handler.lock:
            if Handler.pool is None:  # all 50 at once, when the first visitor comes
                Handler.pool = connect()
            pool = Handler.pool
        with borrowed(pool) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE visits SET n = n + 1 RETURNING n")
            return f"Hello, visitor {cursor.fetchone()[0]}; {made} connections were made so far.\n"

    def do_GET(self):
        try:
            status, text = 200, self.answer()
        except psycopg2.Error as error:
            with Handler.lock:
                Handler.pool = None  # the database was started anew; so is the pool, next time
            status, text = 502, f"The database does not answer: {error}\n"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
