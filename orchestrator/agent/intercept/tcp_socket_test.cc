// What a program sees of its TCP connections and listeners.

#include <gtest/gtest.h>

#include <optional>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/ip_build.h"
#include "orchestrator/agent/intercept/intercept_peer.h"

namespace im::agent {
namespace {

// struct tcp_info, as far as it is looked at.
constexpr char kTcpInfo[] = R"(
def tcp_info(s):
    raw = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 240)
    word = lambda at: struct.unpack_from('I', raw, at)[0]
    long = lambda at: struct.unpack_from('Q', raw, at)[0]
    return {'state': raw[0], 'rto': word(8), 'snd_mss': word(16), 'unacked': word(24),
            'rtt': word(68), 'cwnd': word(80), 'retrans': word(100),
            'acked': long(120), 'received': long(128), 'notsent': word(144)}
def settled(s, what):                # acknowledgments are on their way
    until = time.monotonic() + 20
    while not what(tcp_info(s)) and time.monotonic() < until: select.select([], [], [], 0.01)
    return tcp_info(s)
)";

TEST(TcpSocketTest, tcp_info_tells_what_happens_to_a_connection) {
  EXPECT_EQ(RunPython(std::string(kTcpInfo) + R"(
s = socket.create_connection((PEER, 7))
big = b'b' * 500_000
threading.Thread(target=s.sendall, args=(big,)).start()
got = 0
while got < len(big): got += len(s.recv(65536))
info = settled(s, lambda i: i['acked'] == len(big))
expect((info['state'], info['acked'], info['received']), (1, len(big), len(big)))
expect(info['rtt'] > 0 and info['rto'] >= 200_000, True)
expect(info['cwnd'] >= 10 and 500 < info['snd_mss'] < 65_536, True)
expect((info['unacked'], info['notsent']), (0, 0))
expect(info['retrans'] <= 1, True)    # a tail may be probed where the processors are busy
idle = socket.create_connection((PEER, 21))   # takes and never reads
idle.setblocking(False)
info = settled(idle, lambda i: error_of(idle.send, big) == 'EAGAIN' and i['notsent'] > 0)
expect(info['notsent'] > 0, True)
idle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))   # what waits is given up
s.shutdown(socket.SHUT_WR)
while s.recv(100): pass
expect(settled(s, lambda i: i['state'] == 7)['state'], 7)
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(9)
c = socket.create_connection(l.getsockname())
raw = l.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 240)
expect((raw[0], struct.unpack_from('2I', raw, 24)), (10, (1, 9)))
)"), 0);
}

TEST(TcpSocketTest, a_peer_that_takes_nothing_is_given_up_after_the_user_timeout) {
  EXPECT_EQ(RunPython(R"(
def with_timeout(ms):
    s = socket.create_connection((PEER, 21))     # takes and never reads
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ms)
    expect(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), ms)
    return s
quiet, talks = with_timeout(400), with_timeout(400)
talks.send(b'x')                      # is acknowledged
stuck = with_timeout(600)
before = time.monotonic()
expect(error_of(stuck.sendall, b's' * 20_000_000) in ('EPIPE', 'ECONNRESET', 'ETIMEDOUT'), True)
expect(time.monotonic() - before >= 0.6, True)
expect(stuck.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ETIMEDOUT)
for s in quiet, talks: s.send(b'still there')
expect([s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for s in (quiet, talks)], [0, 0])
n = socket.socket()
n.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
expect(error_of(n.connect, ('10.0.0.77', 7)), 'ETIMEDOUT')
)"), 0);
}

TEST(TcpSocketTest, a_send_that_finds_no_room_ends_after_its_timeout) {
  EXPECT_EQ(RunPython(R"(
o = socket.SOL_SOCKET
def with_timeout(us):
    s = socket.socket()
    s.setsockopt(o, socket.SO_SNDTIMEO, struct.pack('ll', 0, us))
    expect(s.getsockopt(o, socket.SO_SNDTIMEO, 16), struct.pack('ll', 0, us))
    return s
s = with_timeout(200_000)
s.connect((PEER, 21))                 # takes and never reads
before = time.monotonic()
sent = 0
try:
    while True: sent += s.send(b's' * 1_000_000)   # a part of the last one was taken
except BlockingIOError as e:
    expect(e.errno, errno.EAGAIN)
expect(time.monotonic() - before >= 0.2 and sent > 0, True)
expect(s.getsockopt(o, socket.SO_ERROR), 0)        # it goes on living
s.setsockopt(o, socket.SO_LINGER, struct.pack('ii', 1, 0))
# Of a connect, as in Linux: it goes on by itself.
s = with_timeout(200_000)
expect(error_of(s.connect, ('10.0.0.77', 7)), 'EINPROGRESS')
expect(select.select([], [s], [], 0), ([], [], []))
expect(error_of(s.connect, ('10.0.0.77', 7)), 'EINPROGRESS')
)"), 0);
}

TEST(TcpSocketTest, what_no_route_leads_to_is_unreachable) {
  EXPECT_EQ(RunPython(R"(
six = socket.socket(socket.AF_INET6)
expect(error_of(six.connect, ('2001:db8::1', 7)), 'ENETUNREACH')   # the host has no IPv6
six.setblocking(False)
expect(error_of(six.connect, ('2001:db8::1', 7)), 'ENETUNREACH')
expect(error_of(socket.socket().connect, ('224.0.0.1', 7)), 'ENETUNREACH')
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
expect(error_of(u.sendto, b'x', ('2001:db8::1', 7)), 'ENETUNREACH')
)"), 0);
}

// Before the peer's stack: says, as a router would, that 10.0.0.9 is not there.
class Router final : public PacketSink {
 public:
  Router(PacketSink& stack, PacketSink& link) : stack_(stack), link_(link) {}
  void Write(PacketBatch batch) override {
    for (const Packet& packet : batch) {
      const std::optional<IpView> view = ParseIp(packet.bytes());
      if (view.has_value() && view->is_tcp() && view->destination == IpAddress::V4(0x0a000009))
        link_.Write(SinglePacket(HostUnreachable(packet.bytes())));
    }
    stack_.Write(std::move(batch));
  }

 private:
  static std::vector<uint8_t> HostUnreachable(std::span<const uint8_t> packet) {
    std::vector<uint8_t> error =
        BuildEchoRequest(kPeerAddress, kHostAddress, 0, 0, packet.first(28));
    const std::span<uint8_t> icmp = std::span(error).subspan(20);
    icmp[0] = 3;
    icmp[1] = 1;
    StoreBig16(&icmp[2], 0);
    StoreBig16(&icmp[2], static_cast<uint16_t>(~FoldSum(SumBytes(icmp))));
    return error;
  }

  PacketSink& stack_;
  PacketSink& link_;
};

TEST(TcpSocketTest, a_host_that_is_not_there_is_unreachable) {
  std::optional<Router> router;
  EXPECT_EQ(RunPython(R"(
blocking = socket.socket()
expect(error_of(blocking.connect, ('10.0.0.9', 7)), 'EHOSTUNREACH')
blocking.connect((PEER, 7))          # it can be used again
s = socket.socket()
s.setblocking(False)
expect(error_of(s.connect, ('10.0.0.9', 7)), 'EINPROGRESS')
expect(len(select.select([], [s], [], 30)[1]), 1)
expect(errno.errorcode[s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)], 'EHOSTUNREACH')
)",
                      [&](netstack::LinkedStack& linked) {
                        if (router.has_value()) return;
                        router.emplace(linked.nic, linked.link);
                        linked.link.Attach(*router);
                      }),
            0);
}

TEST(TcpSocketTest, files_and_pipes_flow_through_the_kernels_own_calls) {
  EXPECT_EQ(RunPython(R"(
import tempfile
big = os.urandom(300_000)
file = tempfile.TemporaryFile()
file.write(big); file.flush()
s = socket.create_connection((PEER, 7))
def feed():
    at = 0
    while at < len(big): at += os.sendfile(s.fileno(), file.fileno(), at, len(big) - at)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=feed).start()
# The answer by way of a pipe.
out, into = os.pipe()
got = b''
while (n := os.splice(s.fileno(), into, 60_000)) > 0:
    while n > 0:
        piece = os.read(out, n)
        got += piece
        n -= len(piece)
expect(got == big, True)
)"), 0);
}

TEST(TcpSocketTest, more_than_a_backlog_connect_inside_and_each_is_accepted) {
  EXPECT_EQ(RunPython(R"(
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(5)
l.setblocking(False)
clients = [socket.create_connection(l.getsockname()) for _ in range(1000)]
p = select.poll(); p.register(l, select.POLLIN)
accepted = []
for _ in clients:
    expect(len(p.poll(0)), 1)         # it says so as long as somebody waits
    accepted.append(l.accept()[0])
expect(p.poll(0), [])
expect(error_of(l.accept), 'EAGAIN')
for c in clients: c.send(b'x')
expect([s.recv(9) for s in accepted], [b'x'] * len(clients))
)"), 0);
}

TEST(TcpSocketTest, a_full_backlog_holds_clients_of_other_hosts_until_there_is_room) {
  std::vector<netstack::RecordingHandler> handlers(12);
  const auto dial = [&](netstack::LinkedStack& linked) {
    for (netstack::RecordingHandler& handler : handlers) {
      if (handler.connection != nullptr && !handler.closed) continue;
      handler.closed = false;  // refused: it does not listen yet
      handler.connection = linked.stack.Dial({.remote = {kHostAddress, 8000}}, &handler).value();
    }
  };
  EXPECT_EQ(RunPython(R"(
l = socket.socket(); l.bind(('0.0.0.0', 8000)); l.listen(2)
# The SYNs come in the first moment, and those dropped again after a second.
until = time.monotonic() + 30
names = set()
while len(names) < 12 and time.monotonic() < until:
    if select.select([l], [], [], 0.1)[0]: names.add(l.accept()[1])
expect(len(names), 12)
)", dial), 0);
}

}  // namespace
}  // namespace im::agent
