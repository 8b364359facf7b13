// Single calls of programs under the filter, against a stack of the test's own.

#include "orchestrator/agent/intercept/socket_broker.h"

#include <gtest/gtest.h>

#include "orchestrator/agent/intercept/intercept_peer.h"

namespace im::agent {
namespace {

TEST(SocketBrokerTest, a_client_talks_to_an_echo_server) {
  EXPECT_EQ(RunPython(R"(
s = socket.create_connection((PEER, 7))
expect(s.getpeername(), (PEER, 7))
expect(s.getsockname()[0], HOST)
s.sendall(b'ping')
expect(s.recv(100), b'ping')
big = os.urandom(3_000_000)
threading.Thread(target=lambda: (s.sendall(big), s.shutdown(socket.SHUT_WR))).start()
expect(read_all(s), big)
expect(os.getuid() != 0, True)
)"), 0);
}

TEST(SocketBrokerTest, a_large_answer_comes_whole_and_slowly_read) {
  EXPECT_EQ(RunPython(R"(
s = socket.create_connection((PEER, 19))
first = s.recv(1)
data = first
while len(data) < 3_000_000:
    piece = s.recv(7000)
    expect(piece != b'', True)
    data += piece
expect(s.recv(1), b'')
for i in list(range(0, 3_000_000, 9973)) + [2_999_999]:
    expect(data[i], ((i * 2654435761 & 0xffffffffffffffff) >> 13 ^ i >> 24) & 0xff)
)"), 0);
}

TEST(SocketBrokerTest, a_non_blocking_connect_is_told_by_epoll) {
  EXPECT_EQ(RunPython(R"(
s = socket.socket()
s.setblocking(False)
ep = select.epoll()
ep.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
expect(s.connect_ex((PEER, 7)), errno.EINPROGRESS)
while True:
    [(fd, events)] = ep.poll(20)
    if events & select.EPOLLOUT: break
expect(events & (select.EPOLLERR | select.EPOLLHUP), 0)
expect(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
expect(s.connect_ex((PEER, 7)), errno.EISCONN)
s.send(b'x')
while not ep.poll(20)[0][1] & select.EPOLLIN: pass
expect(s.recv(10), b'x')
)"), 0);
}

TEST(SocketBrokerTest, a_refused_connect_is_an_error_in_either_way) {
  EXPECT_EQ(RunPython(R"(
s = socket.socket()
expect(error_of(s.connect, (PEER, 1)), 'ECONNREFUSED')
expect(error_of(s.connect, (PEER, 7)), 'none')  # the same socket, again
n = socket.socket()
n.setblocking(False)
expect(n.connect_ex((PEER, 1)), errno.EINPROGRESS)
p = select.poll()
p.register(n, select.POLLOUT)
[(fd, events)] = p.poll(20_000)
expect(events & (select.POLLERR | select.POLLHUP), select.POLLERR | select.POLLHUP)
expect(n.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNREFUSED)
expect(n.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
expect(error_of(n.getpeername), 'ENOTCONN')
expect(n.connect_ex((PEER, 7)), errno.ECONNABORTED)   # Linux tells of the last attempt first
n.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 20, 0))
expect(n.connect_ex((PEER, 7)), errno.EINPROGRESS)
expect((n.getblocking(), n.get_inheritable()), (False, False))
p = select.poll()
p.register(n, select.POLLOUT)
expect(p.poll(20_000), [(n.fileno(), select.POLLOUT)])
expect(n.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
expect(n.getpeername(), (PEER, 7))
n.send(b'again')
n.setblocking(True)
expect(n.recv(10), b'again')
)"), 0);
}

TEST(SocketBrokerTest, a_pending_connect_is_not_writable) {
  EXPECT_EQ(RunPython(R"(
s = socket.socket()
s.setblocking(False)
expect(s.connect_ex(('10.0.0.77', 7)), errno.EINPROGRESS)  # nobody there
expect(s.connect_ex(('10.0.0.77', 7)), errno.EALREADY)
expect(select.select([], [s], [], 0.3), ([], [], []))
expect(error_of(s.getpeername), 'ENOTCONN')
s.close()
t = socket.socket()
t.settimeout(0.3)
try:
    t.connect(('10.0.0.77', 7))
    raise AssertionError('connected')
except TimeoutError:
    pass
)"), 0);
}

TEST(SocketBrokerTest, half_close_works_both_ways) {
  EXPECT_EQ(RunPython(R"(
s = socket.create_connection((PEER, 7))
s.sendall(b'a' * 100_000)
s.shutdown(socket.SHUT_WR)
expect(error_of(s.send, b'x'), 'EPIPE')
expect(read_all(s), b'a' * 100_000)
g = socket.create_connection((PEER, 13))
expect(read_all(g), b'hello')
)"), 0);
}

TEST(SocketBrokerTest, a_reset_is_seen_as_a_reset_and_not_as_an_end) {
  EXPECT_EQ(RunPython(R"(
s = socket.create_connection((PEER, 9))
s.sendall(b'1234')
expect(error_of(s.recv, 10), 'ECONNRESET')
q = socket.create_connection((PEER, 9))
p = select.poll()
p.register(q, select.POLLIN)
q.sendall(b'12')
q.sendall(b'34')
[(fd, events)] = p.poll(20_000)
expect(events & select.POLLERR, select.POLLERR)
expect(error_of(q.recv, 10), 'ECONNRESET')
)"), 0);
}

TEST(SocketBrokerTest, a_server_is_told_its_clients_names) {
  netstack::RecordingHandler handler;
  handler.close_with_peer = true;
  handler.on_writable = [&] { handler.connection->Write(netstack::Bytes("from-peer")); };
  const auto dial = [&](netstack::LinkedStack& linked) {
    if (handler.connection != nullptr && (!handler.closed || !handler.data.empty())) return;
    handler.closed = false;
    handler.connection = linked.stack.Dial({.remote = {kHostAddress, 8000}}, &handler).value();
    handler.connection->Write(netstack::Bytes("x"));  // takes nothing yet, and asks to be told
  };
  EXPECT_EQ(RunPython(R"(
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(('0.0.0.0', 8000))
l.listen(5)
expect(l.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1)
expect(l.getsockname(), ('0.0.0.0', 8000))
c, name = l.accept()
expect(name[0], PEER)
expect(c.getpeername(), name)
expect(c.getsockname(), (HOST, 8000))
expect(c.recv(100), b'from-peer')
c.sendall(b'answer')
c.close()
l.setblocking(False)
expect(error_of(l.accept), 'EAGAIN')
)", dial), 0);
  EXPECT_EQ(handler.data, "answer");
}

TEST(SocketBrokerTest, connections_inside_the_host_are_splices) {
  EXPECT_EQ(RunPython(R"(
for address in '127.0.0.1', HOST:
    l = socket.socket()
    l.bind((address, 0))
    l.listen(1)
    port = l.getsockname()[1]
    other = socket.socket()
    expect(error_of(other.bind, (address, port)), 'EADDRINUSE')
    p = select.poll()
    p.register(l, select.POLLIN)
    expect(p.poll(0), [])
    c = socket.create_connection((address, port))
    expect(len(p.poll(20_000)), 1)
    s, name = l.accept()
    expect(p.poll(0), [])
    expect(name, c.getsockname())
    expect(c.getpeername(), (address, port))
    expect(s.getsockname(), (address, port))
    c.sendall(b'in')
    expect(s.recv(10), b'in')
    s.sendall(b'out')
    expect(c.recv(10), b'out')
    c.close()
    expect(s.recv(10), b'')
    l.close()
    expect(error_of(socket.create_connection, (address, port)), 'ECONNREFUSED')
    again = socket.socket()
    again.bind((address, port))
    again.close()
    bound = socket.socket()
    bound.bind((address, port))
expect(error_of(socket.socket().bind, ('10.9.9.9', 80)), 'EADDRNOTAVAIL')
six = socket.socket(socket.AF_INET6)
six.bind(('::', 8006)); six.listen()
c4 = socket.create_connection((HOST, 8006))
s4, name = six.accept()
expect(name[0], '::ffff:' + HOST)
c6 = socket.create_connection(('::1', 8006))
expect(six.accept()[1][0], '::1')
for i in range(3000):  # more than are kept before it is looked what is closed
    c = socket.create_connection(('127.0.0.1', 8006)); s, _ = six.accept(); c.close(); s.close()
expect(c4.getpeername(), (HOST, 8006))
)"), 0);
}

TEST(SocketBrokerTest, listeners_that_share_a_port_take_turns) {
  EXPECT_EQ(RunPython(R"(
listeners = []
for i in range(2):
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    l.bind(('0.0.0.0', 8000))
    l.listen()
    l.setblocking(False)
    listeners.append(l)
clients = [socket.create_connection(('127.0.0.1', 8000)) for _ in range(4)]
for l in listeners:
    expect([error_of(l.accept) for _ in range(3)], ['none', 'none', 'EAGAIN'])
listeners[0].close()
clients = [socket.create_connection(('127.0.0.1', 8000)) for _ in range(2)]
expect([error_of(listeners[1].accept) for _ in range(3)], ['none', 'none', 'EAGAIN'])
)"), 0);
}

TEST(SocketBrokerTest, udp_gives_true_sources) {
  EXPECT_EQ(RunPython(R"(
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
expect(error_of(u.send, b'x') in ('none', 'EDESTADDRREQ'), True)
u.sendto(b'one', (PEER, 7))
expect(u.recvfrom(100), (b'one', (PEER, 7)))
u.sendmsg([b'tw', b'o'], [], 0, (PEER, 7))
data, _, flags, name = u.recvmsg(2)
expect((data, flags & socket.MSG_TRUNC, name), (b'tw', socket.MSG_TRUNC, (PEER, 7)))
u.sendto(b'', (PEER, 7))
expect(u.recvfrom(100), (b'', (PEER, 7)))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v.bind((HOST, 0))
u.sendto(b'p0', (PEER, 7))
expect(len(select.select([u], [], [], 20)[0]), 1)
v.sendto(b'local0', (HOST, u.getsockname()[1]))
expect(u.recv(100), b'p0')                     # read without asking for the source
expect(u.recvfrom(100), (b'local0', v.getsockname()))
u.sendto(b'p1', (PEER, 7))
expect(u.recvfrom(100, socket.MSG_PEEK), (b'p1', (PEER, 7)))
expect(u.recvfrom(100), (b'p1', (PEER, 7)))
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
c.connect((PEER, 7))
expect(c.getsockname()[0], HOST)
c.send(b'connected')
expect(c.recv(100), b'connected')
v.sendto(b'stranger', c.getsockname())
c.send(b'mine')
expect(c.recvfrom(100), (b'mine', (PEER, 7)))
big = os.urandom(60_000)
c.send(big)
expect(c.recv(65535), big)
c.setblocking(False)
expect(error_of(c.recvfrom, 10), 'EAGAIN')
expect(error_of(u.sendto, b'x', ('224.0.0.1', 5)), 'ENETUNREACH')
m = struct.pack('4s4s', socket.inet_aton('224.0.0.1'), socket.inet_aton('0.0.0.0'))
expect(error_of(u.setsockopt, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, m), 'ENOTSUP')
w = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
w.settimeout(None)
w.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 200_000))
expect(error_of(w.recvfrom, 10), 'EAGAIN')
# recvmsg has three arguments; what stands where recvfrom has its flags is nothing.
import ctypes
libc = ctypes.CDLL(None)
buffer = ctypes.create_string_buffer(2)
piece = struct.pack('QQ', ctypes.addressof(buffer), 2)
pieces = ctypes.create_string_buffer(piece)
header = struct.pack('QQQQQQQ', 0, 0, ctypes.addressof(pieces), 1, 0, 0, 0)
header = ctypes.create_string_buffer(header)
threading.Timer(0.2, lambda: u.sendto(b'long', ('127.0.0.1', w.getsockname()[1]))).start()
w.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 20, 0))
w.bind(('127.0.0.1', 0))
expect(libc.syscall(47, w.fileno(), header, 0, int(socket.MSG_TRUNC)), 2)
expect(buffer.raw, b'lo')
)"), 0);
}

TEST(SocketBrokerTest, dns_servers_out_of_reach_are_answered_for) {
  EXPECT_EQ(RunPython(R"(
connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
connected.connect(('192.0.2.1', 53))
connected.send(b'connected')
expect(connected.recv(99), b'connected')
expect(connected.getpeername(), ('192.0.2.1', 53))
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
six.connect(('2001:db8::1', 53))
six.send(b'six')
expect(six.recvfrom(99)[0], b'six')
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for server in ('127.0.0.53', 53), ('127.0.0.1', 53), ('192.0.2.2', 53):
    u.sendto(b'asked', server)
    expect(u.recvfrom(99), (b'asked', server))
# One of the host's own is asked itself, and so is one of another host.
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(('127.0.0.1', 53))
u.sendto(b'own', ('127.0.0.1', 53))
expect(own.recvfrom(99)[0], b'own')
refused = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
refused.connect((PEER, 53))
refused.send(b'nobody')
expect(error_of(refused.recvfrom, 99), 'ECONNREFUSED')
)"), 0);
}

TEST(SocketBrokerTest, options_are_what_a_program_expects) {
  EXPECT_EQ(RunPython(R"(
s = socket.create_connection((PEER, 7))
o = socket.SOL_SOCKET
expect(s.getsockopt(o, socket.SO_DOMAIN), socket.AF_INET)
expect(s.getsockopt(o, socket.SO_TYPE), socket.SOCK_STREAM)
expect(s.getsockopt(o, socket.SO_PROTOCOL), socket.IPPROTO_TCP)
expect(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0], 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
expect(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
s.setsockopt(o, socket.SO_KEEPALIVE, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
expect(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 30)
s.setsockopt(o, socket.SO_RCVTIMEO, struct.pack('ll', 0, 50_000))
expect(error_of(s.recv, 1), 'EAGAIN')
expect(error_of(s.setsockopt, o, socket.SO_BINDTODEVICE, b'lo\0'), 'EPERM')
expect(error_of(s.setsockopt, socket.IPPROTO_TCP, 9999, 1), 'ENOPROTOOPT')
s.send(b'waits')
p = select.poll(); p.register(s, select.POLLIN); p.poll(20_000)
import fcntl, termios
expect(struct.unpack('i', fcntl.ioctl(s, termios.FIONREAD, b'\0\0\0\0'))[0], 5)
expect(s.recv(10, socket.MSG_PEEK), b'waits')
expect(s.recv(10), b'waits')
expect(error_of(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1), 'EPERM')
expect(error_of(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0), 'EPERM')
expect(error_of(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262), 'EPROTONOSUPPORT')
expect(error_of(socket.socket, 40, socket.SOCK_STREAM, 0), 'EAFNOSUPPORT')  # VSOCK
a, b = socket.socketpair()
expect(a.getsockopt(o, socket.SO_DOMAIN), socket.AF_UNIX)
a.sendmsg([b'x'], [(o, socket.SCM_RIGHTS, struct.pack('i', 0))])
expect(len(b.recvmsg(10, 100)[1]), 1)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))
x = socket.socket(socket.AF_UNIX); x.bind('\0im-test-%d' % os.getpid()); x.listen()
socket.socket(socket.AF_UNIX).connect('\0im-test-%d' % os.getpid())
x.accept()
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
expect((libc.syscall(425, 8, 0), ctypes.get_errno()), (-1, errno.ENOSYS))  # io_uring_setup
f = socket.socket()
expect((libc.connect(f.fileno(), 1, 16), ctypes.get_errno()), (-1, errno.EFAULT))
expect((libc.getsockname(f.fileno(), 1, 1), ctypes.get_errno()), (-1, errno.EFAULT))
expect((libc.bind(f.fileno(), ctypes.create_string_buffer(4), 4), ctypes.get_errno()),
       (-1, errno.EAFNOSUPPORT))
expect((libc.connect(12345, 1, 16), ctypes.get_errno()), (-1, errno.EBADF))
expect((libc.connect(0, 1, 16), ctypes.get_errno())[0], -1)
)"), 0);
}

}  // namespace
}  // namespace im::agent
