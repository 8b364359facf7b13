"""A client for tests, run by `im run`: lines "HOST PORT TEXT" on its stdin; for
each a connection is made, TEXT and a newline are sent, and what comes back until
the other side closes is printed as JSON, with the time that it took.
"""

import json
import socket
import sys
import time

for line in sys.stdin:
    host, port, text = line.rstrip("\n").split(" ", 2)
    start = time.monotonic()
    answer = b""
    error = ""
    try:
        with socket.create_connection((host, int(port)), timeout=120) as conn:
            conn.sendall(text.encode() + b"\n")
            while data := conn.recv(65536):
                answer += data
    except OSError as e:
        error = str(e)
    print(json.dumps({"answer": answer.decode(), "error": error, "seconds": time.monotonic() - start}),
          flush=True)
