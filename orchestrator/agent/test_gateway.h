// For tests: the other end of an agent. A gateway in this process, over
// loopback UDP, with a TUN device, so that tests talk to hosts by ordinary
// sockets; and an im-agent as a child process.
//
// All in a network namespace of the test's own. Needs root.

#ifndef IM_ORCHESTRATOR_AGENT_TEST_GATEWAY_H_
#define IM_ORCHESTRATOR_AGENT_TEST_GATEWAY_H_

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/dual_stack.h"
#include "base/event_loop.h"
#include "base/ip_build.h"
#include "base/netlink.h"
#include "base/random.h"
#include "base/tun_device.h"
#include "orchestrator/names/dns_responder.h"
#include "proto/agent.pb.h"
#include "tunnel/driver.h"

namespace im::agent {

inline const IpAddress kTestGateway = IpAddress::V4(0x0a4d0001);  // 10.77.0.1
inline const IpAddress kTestGuest = IpAddress::V4(0x0a4d00fe);
// Of agents whose request says so.
inline const DualStack kTestDualStack{*IpPrefix::Parse("fd00:77::/96")};
inline constexpr int kTestPrefixLength = 16;

// The directory of the test program, where im-agent stands too.
inline std::string BinDirectory() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

// Moves this process into a fresh network namespace, once.
inline absl::Status EnterTestNetwork() {
  static const absl::Status status = [] {
    if (geteuid() != 0)
      return absl::PermissionDeniedError("needs root, to make namespaces");
    if (unshare(CLONE_NEWNET) != 0) return ErrnoStatus("unshare");
    IM_RETURN_IF_ERROR(SetLinkUp("lo"));
    std::ofstream("/proc/sys/net/ipv4/ip_forward") << 1;
    return absl::OkStatus();
  }();
  return status;
}

class TestGateway final : public PacketSink, public tunnel::Device::Delegate {
 public:
  struct Host {
    IpAddress address;
    tunnel::PublicKey key;
    std::vector<proto::InstanceStatus> statuses;
    std::vector<uint64_t> acknowledged_peers;
    bool acknowledge = true;
    std::optional<Endpoint> endpoint;  // where it was seen last
  };

  TestGateway() {
    loop_ = *EventLoop::Create(clock_);
    key_ = tunnel::GeneratePrivateKey(random_);
    tun_ = *TunDevice::Create({.name = "gw%d"});
    EXPECT_TRUE(SetLinkMtu(tun_->name(), 1420).ok());
    EXPECT_TRUE(AddAddress(tun_->name(), kTestGateway, kTestPrefixLength).ok());
    EXPECT_TRUE(SetLinkUp(tun_->name()).ok());
    tun_watch_ = loop_->WatchFd(tun_->fd(), EPOLLIN, [this](uint32_t) {
      PacketBatch batch;
      EXPECT_TRUE(tun_->Read(batch, 8).ok());
      if (driver_ != nullptr) driver_->Write(std::move(batch));
    });
    Open(0);
  }

  // As imd does when it is killed and started anew: the same key and port.
  void Close() {
    port_ = driver_->local_endpoint().port;
    for (auto& [address, host] : hosts_)
      host.endpoint = driver_->device().GetPeer(host.key)->endpoint;
    driver_.reset();
  }
  void Reopen() {
    Open(port_);
    for (auto& [address, host] : hosts_) AddPeer(host);
  }

  EventLoop& loop() { return *loop_; }
  tunnel::Driver& driver() { return *driver_; }
  const tunnel::PublicKey& key() const { return public_key_; }

  Host& AddHost(const IpAddress& address, const tunnel::PublicKey& key) {
    Host& host = hosts_[address];
    host = Host{.address = address, .key = key};
    AddPeer(host);
    return host;
  }

  // Runs the loop until `done`; false after `deadline`.
  bool RunUntil(const std::function<bool()>& done,
                Duration deadline = std::chrono::seconds(30)) {
    const Instant end = clock_.Now() + deadline;
    while (!done()) {
      if (clock_.Now() >= end) return false;
      loop_->RunOnce(std::min<Duration>(end - clock_.Now(), std::chrono::milliseconds(5)));
    }
    return true;
  }

  void Send(const IpAddress& host, const proto::ToAgent& message) {
    const std::string bytes = message.SerializeAsString();
    driver_->SendTo(hosts_.at(host).key,
                    SinglePacket(BuildUdp({kTestGateway, 1}, {host, 1},
                                          {reinterpret_cast<const uint8_t*>(bytes.data()),
                                           bytes.size()})));
  }

  // Packets from hosts, except control messages and questions about names, that tests want to see.
  std::deque<std::vector<uint8_t>> seen;
  uint64_t forwarded = 0;  // from one host to another

  // From the tunnel.
  void Write(PacketBatch batch) override {
    PacketBatch rest;
    for (const Packet& packet : batch) {
      const auto view = ParseIp(packet.bytes());
      ASSERT_TRUE(view.has_value());
      if (view->is_udp() && view->destination == kTestGateway && view->destination_port == 1) {
        OnControl(view->source, packet.bytes().subspan(view->payload_offset, view->payload_size()));
        continue;
      }
      if (view->is_udp() && view->destination == kTestGateway &&
          view->destination_port == names::kDnsPort) {
        OnQuestion(*view, packet.bytes().subspan(view->payload_offset, view->payload_size()));
        continue;
      }
      if (view->destination != kTestGateway) ++forwarded;
      seen.emplace_back(packet.bytes().begin(), packet.bytes().end());
      rest.AppendCopy(packet);
    }
    DropCounters drops;
    if (!rest.empty()) tun_->Write(rest, drops);
  }
  void OnSessionUp(const tunnel::PublicKey&) override {}
  void OnSessionDown(const tunnel::PublicKey&) override {}

 private:
  void Open(uint16_t port) {
    tunnel::Driver::Options options;
    options.listen = {IpAddress::V4(0x7f000001), port};
    driver_ = *tunnel::Driver::Create(key_, options, *loop_, random_, *this, this);
    public_key_ = driver_->device().public_key();
  }
  void AddPeer(const Host& host) {
    tunnel::PeerConfig peer;
    peer.public_key = host.key;
    peer.allowed_ips = kTestDualStack.HostPrefixes(host.address);
    peer.endpoint = host.endpoint;
    EXPECT_TRUE(driver_->SetPeer(peer).ok());
  }
  // As imd: there is one guest, driver.
  void OnQuestion(const IpView& view, std::span<const uint8_t> query) {
    proto::NameTable table;
    proto::HostName& driver = *table.add_hosts();
    driver.set_name("driver");
    driver.set_address(kTestGuest.ToBytes());
    names::NameIndex index(table.SerializeAsString());
    const auto answer = names::DnsResponder(index, "test.im", {}).Answer(query);
    ASSERT_TRUE(answer.has_value());
    driver_->SendTo(hosts_.at(view.source).key,
                    SinglePacket(BuildUdp({kTestGateway, names::kDnsPort},
                                          {view.source, view.source_port}, *answer)));
  }
  void OnControl(const IpAddress& source, std::span<const uint8_t> payload) {
    auto host = hosts_.find(source);
    ASSERT_NE(host, hosts_.end());
    proto::ToOrchestrator message;
    ASSERT_TRUE(message.ParseFromArray(payload.data(), static_cast<int>(payload.size())));
    for (uint64_t version : message.acknowledged_peers())
      host->second.acknowledged_peers.push_back(version);
    if (!message.has_status()) return;
    host->second.statuses.push_back(message.status());
    if (!host->second.acknowledge) return;
    proto::ToAgent answer;
    answer.set_incarnation(message.incarnation());
    answer.set_acknowledged_status(message.status().version());
    if (message.status().state() == proto::InstanceStatus::RELEASING) {
      answer.mutable_desired()->set_version(UINT64_MAX);
      answer.mutable_desired()->set_goal(proto::DesiredState::RELEASE);
    }
    Send(source, answer);
  }

  RealClock clock_;
  SecureRandom random_;
  std::unique_ptr<EventLoop> loop_;
  tunnel::PrivateKey key_;
  tunnel::PublicKey public_key_;
  std::optional<TunDevice> tun_;
  std::unique_ptr<tunnel::Driver> driver_;
  EventLoop::Watch tun_watch_;
  uint16_t port_ = 0;
  std::map<IpAddress, Host> hosts_;
};

// An im-agent and its host. Killed and awaited at the end.
class TestAgent {
 public:
  TestAgent(TestGateway& gateway, int number, std::vector<std::string> argv)
      : gateway_(gateway), address_(IpAddress::V4(0x0a4d0000 + number)) {
    SecureRandom random;
    const tunnel::PrivateKey key = tunnel::GeneratePrivateKey(random);
    std::string pattern = testing::TempDir() + "/im_agent_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    // Tests may run side by side on one machine; and an agent of the same name, on its
    // way out, would remove the cgroup of the next.
    static int made = 0;
    request.set_cluster(absl::StrCat("test-", getpid(), "-", ++made));
    request.set_host(absl::StrCat("host", number));
    request.set_incarnation(1);
    request.set_private_key(std::string(key.raw()));
    request.set_gateway_public_key(std::string(gateway.key().raw()));
    request.set_gateway_endpoint(gateway.driver().local_endpoint().ToString());
    request.set_gateway_address(kTestGateway.ToBytes());
    request.set_address(address_.ToBytes());
    request.set_prefix_length(kTestPrefixLength);
    request.set_domain("test.im");
    request.set_mtu(1420);
    request.set_offload(true);
    request.set_start_timeout_ms(5000);
    request.set_instance_dir(directory_);
    request.set_log_path(directory_ + "/log");
    request.set_log_bytes_max(1 << 20);
    request.set_log_files_max(1);
    request.set_listen_address("127.0.0.1");
    request.mutable_idle()->set_mode(proto::IdlePolicy::NEVER);
    for (const std::string& argument : argv) request.mutable_program()->add_argv(argument);
    (*request.mutable_program()->mutable_environment())["PATH"] =
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    host_ = &gateway.AddHost(address_, tunnel::DerivePublicKey(key));
  }
  ~TestAgent() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    Wait(std::chrono::seconds(10));
    std::filesystem::remove_all(directory_);
  }

  void Start() {
    const int fd = static_cast<int>(syscall(SYS_memfd_create, "request", 0));
    ASSERT_TRUE(request.SerializeToFileDescriptor(fd));
    lseek(fd, 0, SEEK_SET);
    const std::string agent = BinDirectory() + "/im-agent", number = std::to_string(fd);
    if (unprivileged) {
      ASSERT_EQ(chown(directory_.c_str(), kNobody, kNobody), 0);
    }
    pid_ = fork();
    if (pid_ == 0) {
      if (unprivileged) BecomeNobody();
      execl(agent.c_str(), agent.c_str(), "--start-fd", number.c_str(), nullptr);
      _exit(126);
    }
    close(fd);
  }

  // The agent's wait status; nullopt if it lives on.
  std::optional<int> Wait(Duration deadline = std::chrono::seconds(10)) {
    if (pid_ <= 0) return wait_status_;
    gateway_.RunUntil([this] { return waitpid(pid_, &wait_status_.emplace(), WNOHANG) == pid_; },
                      deadline);
    if (kill(pid_, 0) == 0) return std::nullopt;
    pid_ = 0;
    return wait_status_;
  }
  proto::ExitReport Report() const {
    proto::ExitReport report;
    std::ifstream in(directory_ + "/exit");
    EXPECT_TRUE(report.ParseFromIstream(&in)) << "no exit report";
    return report;
  }
  std::string Log() const {
    std::ifstream in(directory_ + "/log");
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  bool LogHas(const std::string& text) {
    return gateway_.RunUntil([&] { return Log().find(text) != std::string::npos; });
  }

  // Newest status; all zero before the first.
  proto::InstanceStatus status() const {
    return host_->statuses.empty() ? proto::InstanceStatus() : host_->statuses.back();
  }
  bool Await(const std::function<bool(const proto::InstanceStatus&)>& wanted) {
    return gateway_.RunUntil([&] { return !host_->statuses.empty() && wanted(status()); });
  }
  bool AwaitProgram() {
    return Await([](const auto& status) { return status.program_pid() != 0; });
  }
  bool AwaitState(proto::InstanceStatus::State state) {
    return Await([&](const auto& status) { return status.state() == state; });
  }
  void Desire(proto::DesiredState desired) {
    proto::ToAgent message;
    message.set_incarnation(request.incarnation());
    desired.set_version(++desired_version_);
    *message.mutable_desired() = desired;
    gateway_.Send(address_, message);
  }
  // Asks for a pause and waits until it has come about.
  bool Pause() {
    pause_request.set_suspend_requests(pause_request.suspend_requests() + 1);
    Desire(pause_request);
    return AwaitState(proto::InstanceStatus::PAUSED);
  }

  proto::StartRequest request;
  proto::DesiredState pause_request;  // the last one
  bool unprivileged = false;          // nobody, without a capability
  const IpAddress& address() const { return address_; }
  const std::string& directory() const { return directory_; }
  pid_t pid() const { return pid_; }
  TestGateway::Host& host() { return *host_; }

 private:
  static constexpr uid_t kNobody = 65534;
  static void BecomeNobody() {
    if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
      _exit(125);
  }

  TestGateway& gateway_;
  const IpAddress address_;
  std::string directory_;
  TestGateway::Host* host_;
  pid_t pid_ = 0;
  std::optional<int> wait_status_;
  uint64_t desired_version_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TEST_GATEWAY_H_
