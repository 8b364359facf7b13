"""A server with something in memory, and a client that keeps its connection: what must come back from the disk."""


def counter(address):
    """Counts the lines that it is told at port 7000 of an address."""
    return f"""\
import asyncio
count = 0
async def serve(reader, writer):
    global count
    while line := await reader.readline():
        count += 1
        writer.write(b"%d %s" % (count, line))
async def main():
    server = await asyncio.start_server(serve, "{address}", 7000)
    await server.serve_forever()
asyncio.run(main())
"""


# Says what it gets on stdin over one connection to a host, line by line, and gives that up
# if keepalives are not answered.
TALKER = """\
import socket, sys
connection = socket.create_connection((sys.argv[1], 7000), 120)
connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for option, value in ("KEEPIDLE", 1), ("KEEPINTVL", 1), ("KEEPCNT", 2):
    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_" + option), value)
talk = connection.makefile("rwb", buffering=0)
for line in sys.stdin.buffer:
    talk.write(line)
    sys.stdout.buffer.write(talk.readline())
    sys.stdout.flush()
"""
