// im-embedded-peer: a program with im::netstack and im::tunnel linked in, as an
// embedder would write it; what im-bench's ways "embedded" are.
//
//   im-embedded-peer PRIVATE_KEY PEER_KEY PORT PEER_ENDPOINT ADDRESS PEER_ADDRESS [MTU]
//     Serves on its private address: 7001 sends back what it gets, 7002 drops it;
//     7003 sends back datagrams, 7004 counts them. MTU: of the interface, in bytes; 1420
//     if not given.
//     Reads one command a line, answers with one JSON object a line:
//       stream FLOWS MILLISECONDS  bytes and us, to the last byte acknowledged;
//                                  as fast as it can, to the peer's 7002
//       ping COUNT                 trips_us: each round trip of one byte
//       loaded COUNT INTERVAL_US   the same beside a flow to the peer's 7002; each from
//                                  when it was due, and sent then (open loop)
//       crr COUNT                  trips_us: each connect, a byte there and back, close
//       udp COUNT                  trips_us: each datagram there and back
//       datagrams BYTES MBITS MILLISECONDS
//                                  sent: of BYTES of payload, to the peer's 7004, MBITS of
//                                  payload a second; 0: as fast as it can
//       arrived                    datagrams: how many came to 7004 since the last time
//       hold COUNT                 that many more quiet connections; us
//       connect COUNT              that many, kAtOnce at a time, each closed by
//                                  both ends once it is up; us

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "netstack/net.h"
#include "tunnel/constants.h"
#include "tunnel/driver.h"

namespace im::bench {
namespace {

using netstack::TcpConnection;

constexpr uint16_t kEchoPort = 7001;
constexpr uint16_t kSinkPort = 7002;
constexpr uint16_t kUdpPort = 7003;
constexpr uint16_t kUdpSinkPort = 7004;
constexpr size_t kBufferBytes = 1 << 16;
constexpr int kAtOnce = 16;  // by `connect`

uint8_t buffer[kBufferBytes];

int64_t NowUs(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::microseconds>(clock.Now().time_since_epoch())
      .count();
}

// What the peer's connections are served by.
class Served final : public TcpConnection::Handler {
 public:
  Served(std::unique_ptr<TcpConnection> connection, bool echo, std::function<void()> done)
      : connection_(std::move(connection)), echo_(echo), done_(std::move(done)) {
    connection_->SetNoDelay(true);
    connection_->SetHandler(this);
  }
  void OnReadable() override {
    while (const size_t n = connection_->Read(buffer))
      if (echo_) connection_->Write({buffer, n});  // of pings: always room
  }
  void OnReadClosed() override { connection_->CloseWrite(); }
  void OnClosed(const absl::Status&) override { done_(); }

 private:
  std::unique_ptr<TcpConnection> connection_;
  const bool echo_;
  const std::function<void()> done_;
};

// A connection that we dialled: writes all the time while told to.
class Flow final : public TcpConnection::Handler {
 public:
  void OnConnected() override {
    connected = true;
    connection->SetNoDelay(true);
    if (close_at_once) connection->CloseWrite();
  }
  void OnReadable() override {
    while (const size_t n = connection->Read(buffer)) received += n;
  }
  void OnWritable() override { Fill(); }
  void OnReadClosed() override { over = true; }
  void OnClosed(const absl::Status& status) override {
    over = true;
    if (!status.ok()) error = std::string(status.message());
  }
  void Fill() {
    while (streaming) {
      const size_t n = connection->Write(buffer);
      sent += n;
      if (n < kBufferBytes) return;
    }
  }

  std::unique_ptr<TcpConnection> connection;
  bool connected = false;
  bool streaming = false;
  bool close_at_once = false;
  bool over = false;
  uint64_t sent = 0;
  uint64_t received = 0;
  std::string error;
};

class Peer {
 public:
  struct Options {
    tunnel::PrivateKey key;
    tunnel::PeerConfig peer;
    uint16_t port = 0;
    IpAddress address;
    IpAddress peer_address;
    int mtu = netstack::InterfaceOptions().mtu;
  };

  explicit Peer(const Options& options)
      : options_(options), loop_(EventLoop::Create(clock_).value()), stack_(*loop_) {}

  absl::Status Start() {
    loop_->SetBusyPoll(tunnel::kBusyPollWindow);  // as im-tunnel does
    tunnel::Driver::Options tunnel_options;
    tunnel_options.listen = {IpAddress(), options_.port};
    IM_ASSIGN_OR_RETURN(driver_, tunnel::Driver::Create(options_.key, tunnel_options, *loop_,
                                                        random_, inside_, nullptr));
    IM_RETURN_IF_ERROR(driver_->SetPeer(options_.peer));
    IM_ASSIGN_OR_RETURN(
        netstack::Interface * nic,
        stack_.AddInterface(
            {.address = options_.address, .prefix_length = 24, .mtu = options_.mtu}, *driver_));
    inside_.nic = nic;
    driver_->SetBlockedCallback([this, nic](bool blocked) {
      blocked_ = blocked;
      nic->SetBlocked(blocked);
    });
    for (const uint16_t port : {kEchoPort, kSinkPort}) {
      IM_ASSIGN_OR_RETURN(auto listener, stack_.Listen({options_.address, port}, [=, this](
                                                           std::unique_ptr<TcpConnection> c) {
        const uint64_t id = ++last_id_;
        served_[id] = std::make_unique<Served>(std::move(c), port == kEchoPort,
                                               [this, id] { ended_.push_back(id); });
      }));
      listeners_.push_back(std::move(listener));
    }
    const auto send_back = [this](const Endpoint& from, std::span<const uint8_t> payload) {
      udp_echo_->SendTo(from, payload).IgnoreError();
    };
    IM_ASSIGN_OR_RETURN(udp_echo_, stack_.BindUdp({options_.address, kUdpPort}, send_back));
    const auto count = [this](const Endpoint&, std::span<const uint8_t>) { ++arrived_; };
    IM_ASSIGN_OR_RETURN(udp_sink_, stack_.BindUdp({options_.address, kUdpSinkPort}, count));
    return absl::OkStatus();
  }

  void Run() {
    input_ = loop_->WatchFd(STDIN_FILENO, EPOLLIN, [this](uint32_t) { readable_ = true; });
    while (!at_end_) {
      Turn();
      if (!std::exchange(readable_, false)) continue;
      char line[256];
      const ssize_t n = read(STDIN_FILENO, line, sizeof(line));
      if (n <= 0) return;
      std::cout << Answer(std::string(line, static_cast<size_t>(n))) << std::endl;
    }
  }

 private:
  struct Inside final : PacketSink {
    void Write(PacketBatch batch) override { nic->Write(std::move(batch)); }
    netstack::Interface* nic = nullptr;
  };

  void Turn(Duration wait = std::chrono::seconds(1)) {
    loop_->RunOnce(wait);
    for (const uint64_t id : ended_) served_.erase(id);
    ended_.clear();
  }
  // False after `patience`.
  template <typename Condition>
  bool Until(const Condition& condition, Duration patience = std::chrono::seconds(30)) {
    const Instant end = clock_.Now() + patience;
    while (!condition()) {
      if (clock_.Now() > end) return false;
      Turn();
    }
    return true;
  }

  std::string Answer(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    int count = 1, number = 0, time_ms = 0;
    in >> command >> count >> number >> time_ms;
    if (command == "stream") return Stream(count, number);
    if (command == "ping") return Ping(count);
    if (command == "loaded") return PingUnderLoad(count, std::chrono::microseconds(number));
    if (command == "crr") return ConnectRequestClose(count);
    if (command == "udp") return UdpPing(count);
    if (command == "datagrams") return Datagrams(count, number, time_ms);
    if (command == "arrived")
      return absl::StrCat("{\"ok\": true, \"datagrams\": ", std::exchange(arrived_, 0), "}");
    if (command == "hold") return Hold(count);
    if (command == "connect") return Connect(count);
    return Error("what?");
  }
  static std::string Error(const std::string& text) {
    return absl::StrCat("{\"ok\": false, \"error\": \"", text, "\"}");
  }

  // Appends it to a list.
  void AddTrip(Instant begin, std::string& trips_us) const {
    absl::StrAppend(&trips_us, trips_us.empty() ? "" : ",",
                    std::chrono::duration<double, std::micro>(clock_.Now() - begin).count());
  }
  static std::string TripsAnswer(const std::string& trips_us) {
    return absl::StrCat("{\"ok\": true, \"trips_us\": [", trips_us, "]}");
  }

  bool Dial(uint16_t port, int count, std::vector<std::unique_ptr<Flow>>& flows) {
    const size_t first = flows.size();
    for (int i = 0; i < count; ++i) {
      auto flow = std::make_unique<Flow>();
      auto connection = stack_.Dial({.remote = {options_.peer_address, port}}, flow.get());
      if (!connection.ok()) return false;
      flow->connection = *std::move(connection);
      flows.push_back(std::move(flow));
    }
    return Until([&] {
      return std::all_of(flows.begin() + static_cast<ptrdiff_t>(first), flows.end(),
                         [](const auto& flow) { return flow->connected; });
    });
  }

  std::string Stream(int count, int time_ms) {
    std::vector<std::unique_ptr<Flow>> flows;
    if (!Dial(kSinkPort, count, flows)) return Error("connect");
    const int64_t begin_us = NowUs(clock_);
    for (auto& flow : flows) {
      flow->streaming = true;
      flow->Fill();
    }
    const Instant end = clock_.Now() + std::chrono::milliseconds(time_ms);
    while (clock_.Now() < end) Turn(end - clock_.Now());
    uint64_t bytes = 0;
    for (auto& flow : flows) {
      flow->streaming = false;
      flow->connection->CloseWrite();
      bytes += flow->sent;
    }
    const bool done = Until([&] {
      return std::all_of(flows.begin(), flows.end(), [](const auto& flow) { return flow->over; });
    });
    for (const auto& flow : flows)
      if (!flow->error.empty()) return Error(flow->error);
    if (!done) return Error("not acknowledged");
    return absl::StrCat("{\"ok\": true, \"bytes\": ", bytes, ", \"us\": ",
                        NowUs(clock_) - begin_us, "}");
  }

  std::string Ping(int count) {
    std::vector<std::unique_ptr<Flow>> flows;
    if (count < 1 || !Dial(kEchoPort, 1, flows)) return Error("connect");
    Flow& flow = *flows[0];
    std::string trips_us;
    for (int i = 0; i < count; ++i) {
      const auto begin = clock_.Now();
      const uint64_t before = flow.received;
      flow.connection->Write({buffer, 1});
      if (!Until([&] { return flow.received > before || flow.over; }) || flow.over)
        return Error("no answer");
      AddTrip(begin, trips_us);
    }
    return TripsAnswer(trips_us);
  }

  std::string PingUnderLoad(int count, Duration interval) {
    std::vector<std::unique_ptr<Flow>> flows;
    if (count < 1 || !Dial(kSinkPort, 1, flows) || !Dial(kEchoPort, 1, flows))
      return Error("connect");
    flows[0]->streaming = true;
    flows[0]->Fill();
    Flow& flow = *flows[1];
    std::string trips_us;
    const Instant start = clock_.Now();
    int sent = 0, back = 0;
    const auto all_back = [&] {
      for (; back < static_cast<int>(flow.received); ++back) AddTrip(start + back * interval, trips_us);
      for (; sent < count && clock_.Now() >= start + sent * interval; ++sent)
        flow.connection->Write({buffer, 1});
      return back == count || flow.over;
    };
    while (!all_back() && sent < count)
      Turn(std::max<Duration>(start + sent * interval - clock_.Now(), Duration(0)));
    if (!Until(all_back) || back < count) return Error("no answer");
    if (flows[0]->over) return Error("the flow ended");
    flows[0]->streaming = false;
    return TripsAnswer(trips_us);
  }

  std::string ConnectRequestClose(int count) {
    std::string trips_us;
    for (int i = 0; i < count; ++i) {
      std::vector<std::unique_ptr<Flow>> flows;
      const Instant begin = clock_.Now();
      if (!Dial(kEchoPort, 1, flows)) return Error("connect");
      Flow& flow = *flows[0];
      flow.connection->Write({buffer, 1});
      if (!Until([&] { return flow.received > 0 || flow.over; }) || flow.received == 0)
        return Error("no answer");
      flow.connection->CloseWrite();
      flows.clear();
      AddTrip(begin, trips_us);
    }
    return TripsAnswer(trips_us);
  }

  std::string UdpPing(int count) {
    bool answered = false;
    const auto on_answer = [&](const Endpoint&, std::span<const uint8_t>) { answered = true; };
    auto socket = stack_.BindUdp({options_.address, 0}, on_answer);
    if (!socket.ok()) return Error("socket");
    std::string trips_us;
    constexpr int kLostMax = 10;
    for (int done = 0, lost = 0; done < count;) {
      const Instant begin = clock_.Now();
      answered = false;
      const bool sent = (*socket)->SendTo({options_.peer_address, kUdpPort}, {buffer, 5}).ok();
      // One that is lost is no trip; many are a failure.
      if (!sent || !Until([&] { return answered; }, std::chrono::seconds(1))) {
        if (++lost == kLostMax) return Error("no answer");
        continue;
      }
      AddTrip(begin, trips_us);
      ++done;
    }
    return TripsAnswer(trips_us);
  }

  std::string Datagrams(int bytes, int megabits_per_s, int time_ms) {
    constexpr int kAtOnceMax = 64;  // before what arrives is looked at
    auto socket = stack_.BindUdp({options_.address, 0}, [](auto&&...) {});
    if (!socket.ok() || bytes < 1 || bytes > static_cast<int>(kBufferBytes) || megabits_per_s < 0)
      return Error("bytes, megabits");
    const Instant begin = clock_.Now();
    const Instant end = begin + std::chrono::milliseconds(time_ms);
    uint64_t sent = 0;
    for (Instant now = begin; now < end; now = clock_.Now()) {
      const std::chrono::duration<double, std::micro> passed = now - begin;
      // A megabit a second is a bit in a microsecond.
      const uint64_t due = megabits_per_s == 0
                               ? sent + kAtOnceMax
                               : static_cast<uint64_t>(passed.count() * megabits_per_s / 8 / bytes);
      int at_once = 0;
      for (; sent < due && at_once < kAtOnceMax && !blocked_; ++at_once, ++sent) {
        if (!(*socket)->SendTo({options_.peer_address, kUdpSinkPort},
                               {buffer, static_cast<size_t>(bytes)}).ok())
          return Error("send");
      }
      Turn(at_once > 0 ? Duration(0) : std::chrono::milliseconds(1));
    }
    return absl::StrCat("{\"ok\": true, \"sent\": ", sent, "}");
  }

  // In groups: a peer bounds those that are half open.
  std::string Hold(int count) {
    constexpr int kGroup = 100;
    const int64_t begin_us = NowUs(clock_);
    for (int left = count; left > 0; left -= kGroup)
      if (!Dial(kEchoPort, std::min(left, kGroup), held_)) return Error("connect");
    return absl::StrCat("{\"ok\": true, \"us\": ", NowUs(clock_) - begin_us, "}");
  }

  std::string Connect(int count) {
    const int64_t begin_us = NowUs(clock_);
    std::vector<std::unique_ptr<Flow>> flows;
    int begun = 0, ended = 0;
    const auto next = [&] {
      auto flow = std::make_unique<Flow>();
      auto connection = stack_.Dial({.remote = {options_.peer_address, kSinkPort}}, flow.get());
      if (!connection.ok()) return false;
      flow->connection = *std::move(connection);
      flow->close_at_once = true;
      flows.push_back(std::move(flow));
      ++begun;
      return true;
    };
    std::string error;
    const bool done = Until([&] {
      for (size_t i = 0; i < flows.size(); ++i) {
        if (!flows[i]->over) continue;
        if (!flows[i]->error.empty()) error = flows[i]->error;
        ++ended;
        std::swap(flows[i--], flows.back());
        flows.pop_back();
      }
      while (error.empty() && begun < count && begun - ended < kAtOnce)
        if (!next()) error = "dial";
      return !error.empty() || ended == count;
    });
    if (!error.empty()) return Error(error);
    if (!done) return Error("not closed");
    return absl::StrCat("{\"ok\": true, \"us\": ", NowUs(clock_) - begin_us, "}");
  }

  const Options options_;
  RealClock clock_;
  SecureRandom random_;
  std::unique_ptr<EventLoop> loop_;
  Inside inside_;
  std::unique_ptr<tunnel::Driver> driver_;
  netstack::Stack stack_;
  std::vector<std::unique_ptr<netstack::TcpListener>> listeners_;
  std::unique_ptr<netstack::UdpEndpoint> udp_echo_;
  std::unique_ptr<netstack::UdpEndpoint> udp_sink_;
  uint64_t arrived_ = 0;  // there, since it was asked
  bool blocked_ = false;  // the tunnel takes nothing for now
  std::map<uint64_t, std::unique_ptr<Served>> served_;
  std::vector<uint64_t> ended_;
  std::vector<std::unique_ptr<Flow>> held_;
  uint64_t last_id_ = 0;
  EventLoop::Watch input_;
  bool readable_ = false;
  bool at_end_ = false;
};

int Main(int argc, char** argv) {
  if (argc != 7 && argc != 8) {
    std::fprintf(stderr,
                 "usage: %s PRIVATE_KEY PEER_KEY PORT PEER_ENDPOINT ADDRESS PEER_ADDRESS [MTU]\n",
                 argv[0]);
    return 2;
  }
  const auto key = tunnel::PrivateKey::FromBase64(argv[1]);
  const auto peer_key = tunnel::PublicKey::FromBase64(argv[2]);
  const auto endpoint = Endpoint::Parse(argv[4]);
  const auto address = IpAddress::Parse(argv[5]);
  const auto peer_address = IpAddress::Parse(argv[6]);
  if (!key || !peer_key || !endpoint || !address || !peer_address) {
    std::fprintf(stderr, "%s: not keys, an endpoint and addresses\n", argv[0]);
    return 2;
  }
  Peer::Options options;
  options.key = *key;
  options.port = static_cast<uint16_t>(std::atoi(argv[3]));
  options.address = *address;
  options.peer_address = *peer_address;
  if (argc == 8) options.mtu = std::atoi(argv[7]);
  options.peer.public_key = *peer_key;
  options.peer.endpoint = *endpoint;
  options.peer.allowed_ips = {IpPrefix(*peer_address, peer_address->is_v4() ? 32 : 128)};
  Peer peer(options);
  if (const absl::Status status = peer.Start(); !status.ok()) {
    std::fprintf(stderr, "%s: %s\n", argv[0], std::string(status.message()).c_str());
    return 1;
  }
  peer.Run();
  return 0;
}

}  // namespace
}  // namespace im::bench

int main(int argc, char** argv) { return im::bench::Main(argc, argv); }
