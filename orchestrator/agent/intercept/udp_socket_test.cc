// UDP sockets: those that share a port, and those that end.

#include <gtest/gtest.h>

#include "orchestrator/agent/intercept/intercept_peer.h"

namespace im::agent {
namespace {

TEST(UdpSocketTest, a_server_connects_to_its_first_caller_and_binds_another_socket) {
  EXPECT_EQ(RunPython(R"(
def bound(option):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, option, 1)
    s.bind(('0.0.0.0', 8000))
    return s
first = bound(socket.SO_REUSEADDR)
a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
for caller in a, b: caller.connect((HOST, 8000))
a.send(b'a')
data, name = first.recvfrom(10)
expect((data, name), (b'a', a.getsockname()))
first.connect(name)
second = bound(socket.SO_REUSEADDR)
b.send(b'b'); a.send(b'a again')
expect(second.recvfrom(10), (b'b', b.getsockname()))
expect(first.recv(10), b'a again')
first.send(b'yes')
expect(a.recv(10), b'yes')
# The same with a caller of another host: the peer's echo.
third = bound(socket.SO_REUSEADDR)
second.connect((PEER, 7))
second.send(b'out')
expect(second.recv(10), b'out')
third.sendto(b'third', (PEER, 7))     # its answer is for who is connected
expect(second.recv(10), b'third')
second.close()
third.sendto(b'alone', (PEER, 7))
expect(third.recvfrom(10), (b'alone', (PEER, 7)))
)"), 0);
}

TEST(UdpSocketTest, workers_share_a_port_by_caller) {
  EXPECT_EQ(RunPython(R"(
workers = []
for _ in range(3):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(('0.0.0.0', 8000))
    workers.append(s)
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
expect(error_of(other.bind, ('0.0.0.0', 8000)), 'EADDRINUSE')
callers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
for c in callers: c.bind((HOST, 0))
served = {}
for round in range(3):
    for c in callers: c.sendto(b'x', (HOST, 8000))
    for i, w in enumerate(workers):
        w.setblocking(False)
        while error_of(w.recv, 1, socket.MSG_PEEK) == 'none':
            served.setdefault(w.recvfrom(10)[1], []).append(i)
expect(sorted(served), sorted(c.getsockname() for c in callers))
for each in served.values(): expect(each, [each[0]] * 3)
expect({each[0] for each in served.values()}, {0, 1, 2})
)"), 0);
}

TEST(UdpSocketTest, what_is_sent_before_a_close_leaves_and_nothing_after_it) {
  EXPECT_EQ(RunPython(R"(
taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taker.bind((HOST, 8000))
taker.settimeout(30)
def connected():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((HOST, 8000))
    return s
# The end is there while what came before is still looked at.
s = connected()
s.send(b''); s.send(b'last')
s.shutdown(socket.SHUT_WR)
expect(error_of(s.sendto, b'late', (HOST, 8000)), 'EPIPE')
expect([taker.recv(10), taker.recv(10)], [b'', b'last'])
# The same by chance, of sockets that are closed in mid-flight.
for i in range(300):
    s = connected()
    for n in range(4): s.send(b'%d' % n)
    s.close()
    expect([taker.recv(10) for n in range(4)], [b'0', b'1', b'2', b'3'])
taker.setblocking(False)
expect(error_of(taker.recv, 10), 'EAGAIN')
)"), 0);
}

}  // namespace
}  // namespace im::agent
