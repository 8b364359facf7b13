// The real im-agent against a gateway in this process. Each test runs programs
// of its own: this test program again, with IM_TEST_PROGRAM set.

#include "orchestrator/agent/agent.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "absl/strings/str_split.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/seq_packet.h"
#include "orchestrator/agent/test_gateway.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr uint16_t kPort = 7000;

// ---- programs ----

int Listen(int type) {
  const int fd = socket(AF_INET, type, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(kPort)};
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) _exit(90);
  if (type == SOCK_STREAM && listen(fd, 64) != 0) _exit(91);
  return fd;
}

[[noreturn]] void EchoTcp() {
  const int listener = Listen(SOCK_STREAM);
  std::vector<pollfd> fds = {{listener, POLLIN, 0}};
  std::array<char, 4096> buffer;
  while (true) {
    poll(fds.data(), fds.size(), -1);
    if (fds[0].revents != 0) fds.push_back({accept(listener, nullptr, nullptr), POLLIN, 0});
    for (size_t i = 1; i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      const ssize_t n = read(fds[i].fd, buffer.data(), buffer.size());
      if (n > 0 && write(fds[i].fd, buffer.data(), n) == n) continue;
      close(fds[i].fd);
      fds.erase(fds.begin() + i);
      break;
    }
  }
}

[[noreturn]] void EchoUdp() {
  const int fd = Listen(SOCK_DGRAM);
  std::array<char, 2048> buffer;
  while (true) {
    sockaddr_in from = {};
    socklen_t size = sizeof(from);
    const ssize_t n = recvfrom(fd, buffer.data(), buffer.size(), 0,
                               reinterpret_cast<sockaddr*>(&from), &size);
    sendto(fd, buffer.data(), n, 0, reinterpret_cast<sockaddr*>(&from), size);
  }
}

void Resolve(const char* name) {
  addrinfo* found = nullptr;
  const addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  const int error = getaddrinfo(name, nullptr, &hints, &found);
  char text[64] = "";
  if (error == 0)
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr, text, 64);
  std::printf("%s=%s\n", name, error == 0 ? text : gai_strerror(error));
}

// Exits with 0 if the echo works.
[[noreturn]] void Dial(const char* host) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(kPort)};
  inet_pton(AF_INET, host, &address.sin_addr);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) _exit(80);
  char byte = 'x';
  if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || byte != 'x') _exit(81);
  _exit(0);
}

void WaitFor(const char* ms) { poll(nullptr, 0, std::atoi(ms)); }

// Before main() of the tests. Arguments are the program's.
[[gnu::constructor]] void RunTestProgram(int argc, char** argv, char**) {
  const char* name = std::getenv("IM_TEST_PROGRAM");
  if (name == nullptr) return;
  const std::string program = name;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc > 1) WaitFor(argv[1]);
  if (program == "tcp") EchoTcp();
  if (program == "udp") EchoUdp();
  if (program == "names") {
    char host[128] = "";
    gethostname(host, sizeof(host));
    std::printf("hostname=%s\n", host);
    for (const char* other : {"host3", "other", "OTHER.test.im", "nobody", "localhost"})
      Resolve(other);
    std::printf("pid=%d\n", getpid());
  }
  if (program == "exit") _exit(42);
  if (program == "dial" && argc > 2) Dial(argv[2]);
  if (program == "polite") {  // says goodbye
    struct sigaction action = {};
    action.sa_handler = [](int) {
      const char text[] = "goodbye\n";
      _exit(write(1, text, sizeof(text) - 1) > 0 ? 3 : 4);
    };
    sigaction(SIGTERM, &action, nullptr);
    std::printf("ready\n");
    while (true) pause();
  }
  if (program == "stubborn") {
    signal(SIGTERM, SIG_IGN);
    std::printf("ready\n");
    while (true) pause();
  }
  if (program == "busy") {
    std::printf("ready\n");
    while (true) getppid();
  }
  _exit(99);
}

// ---- fixture ----

class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::Status status = EnterTestNetwork();
    ASSERT_TRUE(status.ok()) << status;
    gateway_ = std::make_unique<TestGateway>();
  }

  std::unique_ptr<TestAgent> MakeAgent(int number, const std::string& program,
                                       const std::string& wait_ms = "0") {
    auto agent = std::make_unique<TestAgent>(
        *gateway_, number,
        std::vector<std::string>{std::filesystem::read_symlink("/proc/self/exe"), wait_ms});
    (*agent->request.mutable_program()->mutable_environment())["IM_TEST_PROGRAM"] = program;
    return agent;
  }

  // A non-blocking socket whose connection has been asked for.
  FileDescriptor StartConnect(const IpAddress& host, uint16_t port = kPort) {
    FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockaddr_storage address;
    const socklen_t size = Endpoint{host, port}.ToSockaddr(address);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size), -1);
    EXPECT_EQ(errno, EINPROGRESS);
    return fd;
  }
  static uint16_t LocalPort(const FileDescriptor& fd) {
    sockaddr_storage address = {};
    socklen_t size = sizeof(address);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return Endpoint::FromSockaddr(address).port;
  }
  // The error of the connection's establishment; ETIMEDOUT after the deadline.
  int FinishConnect(const FileDescriptor& fd, Duration deadline = seconds(10)) {
    pollfd writable = {fd.get(), POLLOUT, 0};
    if (!gateway_->RunUntil([&] { return poll(&writable, 1, 0) > 0; }, deadline)) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
  }
  std::string Receive(const FileDescriptor& fd, Duration deadline = seconds(10)) {
    pollfd readable = {fd.get(), POLLIN, 0};
    if (!gateway_->RunUntil([&] { return poll(&readable, 1, 0) > 0; }, deadline)) return "(none)";
    char buffer[4096];
    const ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
    return n < 0 ? std::strerror(errno) : std::string(buffer, n);
  }
  std::string Echo(const FileDescriptor& fd, const std::string& text) {
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return Receive(fd);
  }

  // Sends the request with `out` as all three descriptors.
  FileDescriptor Request(const TestAgent& agent, const std::vector<std::string>& argv, int out,
                         const std::string& test_program = "") {
    FileDescriptor fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0));
    sockaddr_un address = {.sun_family = AF_UNIX};
    const std::string path = agent.directory() + "/agent.sock";
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    proto::ExecToAgent message;
    for (const std::string& argument : argv) message.mutable_request()->add_argv(argument);
    message.mutable_request()->set_inherit_user(true);
    if (!test_program.empty())
      (*message.mutable_request()->mutable_environment())["IM_TEST_PROGRAM"] = test_program;
    const int fds[] = {out, out, out};
    EXPECT_TRUE(SendSeqPacket(fd.get(), message.SerializeAsString(), fds).ok());
    return fd;
  }
  proto::ExecResult Result(const FileDescriptor& fd) {
    proto::ExecResult result;
    const std::string bytes = Receive(fd);
    if (bytes == "(none)" || !result.ParseFromString(bytes)) result.set_error("no result");
    return result;
  }

  std::unique_ptr<TestGateway> gateway_;
};

// The agent's cgroup directory of version 2; "" where that is not used.
std::string CgroupOf(const TestAgent& agent) {
  const CgroupLayout layout = ParseCgroupLayout(ReadSmallFile("/proc/self/mountinfo"),
                                                ReadSmallFile("/proc/self/cgroup"));
  if (!layout.v2) return "";
  const std::string group = absl::StrCat("/im/", agent.request.cluster(), "/",
                                         agent.request.host(), ".1");
  for (const std::string& base : {layout.v2->root, layout.v2->own})
    if (std::filesystem::exists(base + group)) return base + group;
  return "";
}

bool IsFrozen(const TestAgent& agent) {
  return ReadSmallFile(CgroupOf(agent) + "/cgroup.events").find("frozen 1") != std::string::npos;
}

// ---- coming up ----

TEST_F(AgentTest, ProgramHasItsNamesAndANumberSpaceOfItsOwn) {
  auto agent = MakeAgent(3, "names");
  proto::NameTable names;
  proto::HostName& other = *names.add_hosts();
  other.set_name("other");
  other.set_address(RawBytes(IpAddress::V4(0x0a4d0009)));
  agent->request.set_name_table(names.SerializeAsString());
  agent->request.set_hostname("host3");
  agent->Start();
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Log(),
            "hostname=host3\nhost3=10.77.0.3\nother=10.77.0.9\nOTHER.test.im=10.77.0.9\n"
            "nobody=Name or service not known\nlocalhost=127.0.0.1\npid=2\n");
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(agent->Report().exit_code(), 99);
  EXPECT_FALSE(std::filesystem::exists(agent->directory() + "/agent.sock"));
  EXPECT_EQ(CgroupOf(*agent), "");
}

TEST_F(AgentTest, TheFirstStatusSaysWhoItIs) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  EXPECT_EQ(agent->status().agent_pid(), static_cast<uint32_t>(agent->pid()));
  EXPECT_EQ(agent->status().state(), proto::InstanceStatus::RUNNING);
  const auto stat = ReadProcStat(static_cast<pid_t>(agent->status().program_pid()));
  ASSERT_TRUE(stat.has_value()) << "the number is of our own PID namespace";
}

TEST_F(AgentTest, AnswersPingAndEchoesTcp) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  gateway_->driver().Write(
      SinglePacket(BuildEchoRequest(kTestGateway, agent->address(), 77, 1)));
  EXPECT_TRUE(gateway_->RunUntil([&] {
    for (const auto& packet : gateway_->seen)
      if (ParseIp(packet)->protocol == kProtocolIcmp && ParseIp(packet)->icmp_type == 0) return true;
    return false;
  }));
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "hello"), "hello");
}

TEST_F(AgentTest, ACommandThatDoesNotExistIsReported) {
  auto agent = MakeAgent(3, "");
  agent->request.mutable_program()->set_argv(0, "nginxx");
  agent->Start();
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXEC_FAILED);
  EXPECT_EQ(agent->Report().message(), "exec nginxx: No such file or directory");
}

TEST_F(AgentTest, WhatCannotBeSetUpIsReported) {
  struct Case {
    std::function<void(proto::StartRequest&)> spoil;
    std::string message;
    proto::ExitReport::Reason reason;
  };
  const Case kCases[] = {
      {[](auto& r) { r.mutable_program()->set_working_dir("/nowhere"); },
       "change to directory /nowhere: No such file or directory", proto::ExitReport::EXEC_FAILED},
      {[](auto& r) { (*r.mutable_program()->mutable_ulimits())["nofiles"] = 5; },
       "set ulimit nofiles: Invalid argument", proto::ExitReport::EXEC_FAILED},
      {[](auto& r) {
         auto* mount = r.mutable_program()->add_mounts();
         mount->set_source("/tmp");
         mount->set_target("/nowhere");
       },
       "mount /tmp at /nowhere: No such file or directory", proto::ExitReport::SANDBOX_FAILED},
      {[](auto& r) { r.set_log_path("/nowhere/log"); },
       "open log /nowhere/log: No such file or directory", proto::ExitReport::SANDBOX_FAILED},
  };
  for (const Case& c : kCases) {
    auto agent = MakeAgent(3, "tcp");
    c.spoil(agent->request);
    agent->Start();
    ASSERT_TRUE(agent->Wait().has_value()) << c.message;
    EXPECT_EQ(agent->Report().message(), c.message);
    EXPECT_EQ(agent->Report().reason(), c.reason) << c.message;
  }
}

TEST_F(AgentTest, WithoutAnAnswerOfTheGatewayItGivesUp) {
  auto agent = MakeAgent(3, "tcp");
  gateway_->Close();
  agent->request.set_start_timeout_ms(300);
  agent->Start();
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::TUNNEL_FAILED);
  EXPECT_THAT(agent->Report().message(), HasSubstr("did not answer within 0.3s"));
}

TEST_F(AgentTest, WithoutALogTheExitCodeIsTheProgramsOwn) {
  auto agent = MakeAgent(3, "exit");
  agent->request.clear_log_path();
  agent->Start();
  const auto status = agent->Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(WEXITSTATUS(*status), 42);
}

// ---- early packets ----

TEST_F(AgentTest, ASynIsHeldUntilTheProgramListens) {
  auto agent = MakeAgent(3, "tcp", "300");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  RealClock clock;
  const Instant before = clock.Now();
  const FileDescriptor fd = StartConnect(agent->address());
  EXPECT_TRUE(agent->Await([](const auto& s) { return s.program_pid() != 0; }));
  ASSERT_EQ(FinishConnect(fd), 0);
  const Duration took = clock.Now() - before;
  EXPECT_GE(took, milliseconds(200));
  EXPECT_LT(took, milliseconds(900)) << "before the caller's first retransmission";
  tcp_info info = {};
  socklen_t size = sizeof(info);
  ASSERT_EQ(getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  EXPECT_EQ(info.tcpi_total_retrans, 0u);
  EXPECT_EQ(Echo(fd, "hello"), "hello");
  for (const auto& packet : gateway_->seen) {
    const IpView view = *ParseIp(packet);
    if (view.destination_port != LocalPort(fd)) continue;  // left over of an earlier test
    EXPECT_FALSE(view.is_rst()) << "no refusal leaves: " << DescribePacket(packet);
  }
}

TEST_F(AgentTest, DatagramsAreHeldInOrderUntilTheProgramListens) {
  auto agent = MakeAgent(3, "udp", "300");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  FileDescriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  sockaddr_storage address;
  const socklen_t size = Endpoint{agent->address(), kPort}.ToSockaddr(address);
  ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  for (const char* text : {"1", "2", "3", "4"}) ASSERT_EQ(send(fd.get(), text, 1, 0), 1);
  std::string answers;
  while (answers.size() < 4) {
    const std::string answer = Receive(fd);
    ASSERT_EQ(answer.size(), 1u) << answer;
    answers += answer;
  }
  EXPECT_EQ(answers, "1234");
}

TEST_F(AgentTest, APortThatNeverOpensRefusesAfterTheStartTimeout) {
  auto agent = MakeAgent(3, "tcp");
  agent->request.set_start_timeout_ms(600);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  RealClock clock;
  const Instant before = clock.Now();
  const FileDescriptor fd = StartConnect(agent->address(), 9);
  EXPECT_EQ(FinishConnect(fd), ECONNREFUSED);
  EXPECT_LT(clock.Now() - before, milliseconds(900));
  const FileDescriptor later = StartConnect(agent->address(), 9);
  EXPECT_EQ(FinishConnect(later, milliseconds(300)), ECONNREFUSED) << "at once";
}

TEST_F(AgentTest, WhenTheProgramExitsCallersAreRefused) {
  auto agent = MakeAgent(3, "exit", "400");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const FileDescriptor fd = StartConnect(agent->address());
  EXPECT_EQ(FinishConnect(fd, milliseconds(900)), ECONNREFUSED);
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(agent->Report().exit_code(), 42);
}

// ---- pausing ----

TEST_F(AgentTest, PausesWhenIdleAndThawsForDataOfAnOpenConnection) {
  auto agent = MakeAgent(3, "tcp");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(200);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "one"), "one");
  for (uint64_t round = 1; round <= 3; ++round) {
    ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
    EXPECT_TRUE(gateway_->RunUntil([&] { return IsFrozen(*agent); }));
    EXPECT_EQ(Echo(fd, "again"), "again");
    ASSERT_TRUE(agent->Await([&](const auto& s) { return s.thaws() == round; }));
    EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::DATA);
    EXPECT_EQ(agent->status().wake_cause().destination_port(), kPort);
    EXPECT_GT(agent->status().thaw_ns(), 0u);
    RecordProperty("thaw_ns", std::to_string(agent->status().thaw_ns()));
  }
}

TEST_F(AgentTest, WhatWakesAPausedHostAndWhatDoesNot) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  uint64_t suspends = 0, thaws = 0;
  const auto pause = [&] {
    proto::DesiredState desired;
    desired.set_suspend_requests(++suspends);
    agent->Desire(desired);
    return agent->AwaitState(proto::InstanceStatus::PAUSED);
  };
  struct Case {
    const char* what;
    std::vector<uint8_t> packet;
    proto::WakeCause::Kind kind;
  };
  const Endpoint from{kTestGateway, 999}, to{agent->address(), kPort};
  const uint8_t byte[] = {1};
  const Case kCases[] = {
      {"SYN", BuildTcp(from, to, {.sequence = 5, .flags = kTcpSyn}), proto::WakeCause::SYN},
      {"datagram", BuildUdp(from, to, byte), proto::WakeCause::DATAGRAM},
      {"ping", BuildEchoRequest(from.address, to.address, 1, 1), proto::WakeCause::PING},
      {"RST", BuildTcp(from, to, {.flags = kTcpRst}), proto::WakeCause::DATA},
  };
  for (const Case& c : kCases) {
    ASSERT_TRUE(pause()) << c.what;
    // A pure ACK does not; the kernel answers it (with RST here) by itself.
    gateway_->seen.clear();
    gateway_->driver().Write(SinglePacket(
        BuildTcp({kTestGateway, 998}, to, {.acknowledgment = 1, .flags = kTcpAck})));
    ASSERT_TRUE(gateway_->RunUntil([&] { return !gateway_->seen.empty(); }));
    EXPECT_EQ(agent->status().state(), proto::InstanceStatus::PAUSED);
    gateway_->driver().Write(SinglePacket(c.packet));
    ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING)) << c.what;
    EXPECT_EQ(agent->status().wake_cause().kind(), c.kind) << c.what;
    EXPECT_EQ(agent->status().thaws(), ++thaws) << c.what;
  }
  ASSERT_TRUE(pause());
  proto::DesiredState wake;
  wake.set_suspend_requests(suspends + 1);  // a wake beats it
  wake.set_wake_requests(1);
  wake.mutable_wake_cause()->set_kind(proto::WakeCause::PUBLISHED_PORT);
  agent->Desire(wake);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING));
  EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::PUBLISHED_PORT);
}

TEST_F(AgentTest, ABusyProgramIsNotPaused) {
  auto agent = MakeAgent(3, "busy");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(50);
  agent->Start();
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy().find("cpu") == 0; }));
  EXPECT_EQ(agent->status().thaws(), 0u);
  EXPECT_EQ(agent->status().state(), proto::InstanceStatus::RUNNING);
}

TEST_F(AgentTest, WhilePausedAndAcknowledgedTheAgentSleeps) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  proto::DesiredState desired;
  desired.set_suspend_requests(1);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  const auto switches = [&] {
    const std::string status = ReadSmallFile(absl::StrCat("/proc/", agent->pid(), "/status"));
    const size_t at = status.find("voluntary_ctxt_switches:");
    return std::atoi(status.c_str() + at + sizeof("voluntary_ctxt_switches:"));
  };
  // The acknowledgment and WireGuard's own answer to it come first; and then
  // there is time for more than one repetition or refresh.
  gateway_->RunUntil([] { return false; }, milliseconds(500));
  const int before = switches();
  gateway_->RunUntil([] { return false; }, milliseconds(2500));
  EXPECT_EQ(switches(), before);
}

// ---- release ----

TEST_F(AgentTest, ReleaseGivesTheProgramItsGrace) {
  auto agent = MakeAgent(3, "polite");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  proto::DesiredState desired;
  desired.set_goal(proto::DesiredState::RELEASE);
  agent->Desire(desired);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Log(), "ready\ngoodbye\n");
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(agent->Report().exit_code(), 3);
  EXPECT_EQ(agent->status().state(), proto::InstanceStatus::RELEASING);
}

TEST_F(AgentTest, AStubbornProgramIsKilledAfterItsGrace) {
  auto agent = MakeAgent(3, "stubborn");
  agent->request.mutable_program()->set_stop_grace_ms(200);
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  RealClock clock;
  const Instant before = clock.Now();
  kill(agent->pid(), SIGTERM);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_GE(clock.Now() - before, milliseconds(200));
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(agent->Report().signal(), SIGKILL);
}

TEST_F(AgentTest, APausedHostIsReleasedIfIdleAndARunningOneRefuses) {
  auto agent = MakeAgent(3, "polite");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  proto::DesiredState desired;
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RELEASE_REFUSED));
  EXPECT_EQ(agent->status().acknowledged_desired(), 1u);
  desired.set_goal(proto::DesiredState::RUN);
  desired.set_suspend_requests(1);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  agent->Desire(desired);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(agent->Log(), "ready\ngoodbye\n") << "thawed to take its leave";
}

TEST_F(AgentTest, APacketBehindTheQuestionRefusesTheRelease) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  proto::DesiredState desired;
  desired.set_suspend_requests(1);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  agent->Desire(desired);
  const FileDescriptor fd = StartConnect(agent->address());  // leaves in the same turn or the next
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "alive"), "alive");
  EXPECT_FALSE(agent->Wait(milliseconds(1)).has_value());
}

TEST_F(AgentTest, KillingTheAgentLeavesNothing) {
  auto agent = MakeAgent(3, "stubborn");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  proto::DesiredState desired;
  desired.set_suspend_requests(1);
  agent->Desire(desired);  // also when it is frozen
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  const pid_t program = static_cast<pid_t>(agent->status().program_pid());
  const std::string cgroup = CgroupOf(*agent);
  kill(agent->pid(), SIGKILL);
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_TRUE(gateway_->RunUntil([&] { return kill(program, 0) != 0; }));
  if (!cgroup.empty()) {
    EXPECT_TRUE(gateway_->RunUntil([&] { return !std::filesystem::exists(cgroup); }));
  }
}

// ---- the gateway goes and comes ----

TEST_F(AgentTest, AGatewayThatComesBackHearsFromIt) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  gateway_->Close();
  gateway_->Reopen();
  const size_t before = agent->host().statuses.size();
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_TRUE(gateway_->RunUntil([&] { return agent->host().statuses.size() > before; }))
      << "a new session brings the status";
  EXPECT_FALSE(agent->Wait(milliseconds(1)).has_value());
}

TEST_F(AgentTest, IntroducedHostsTalkWithoutTheGateway) {
  auto server = MakeAgent(3, "tcp");
  server->Start();
  ASSERT_TRUE(server->AwaitProgram());
  auto client = MakeAgent(4, "udp");
  client->Start();
  ASSERT_TRUE(client->AwaitProgram());
  const auto introduce = [&](TestAgent& to, TestAgent& peer, uint64_t version, bool withdrawn) {
    proto::ToAgent message;
    message.set_incarnation(1);
    proto::PeerUpdate& update = *message.add_peers();
    update.set_version(version);
    update.set_address(RawBytes(peer.address()));
    update.set_public_key(std::string(peer.host().key.raw()));
    update.set_endpoint(gateway_->driver().device().GetPeer(peer.host().key)->endpoint->ToString());
    update.set_withdrawn(withdrawn);
    gateway_->Send(to.address(), message);
  };
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto dial = [&] {
    return Result(Request(*client, {self, "0", server->address().ToString()}, 2, "dial"))
        .exit_code();
  };
  ASSERT_EQ(dial(), 0);
  const uint64_t by_gateway = gateway_->forwarded;
  EXPECT_GT(by_gateway, 0u);
  introduce(*server, *client, 1, false);
  introduce(*client, *server, 1, false);
  ASSERT_TRUE(gateway_->RunUntil([&] {
    return server->status().direct_peers() == 1 && client->status().direct_peers() == 1;
  }));
  EXPECT_THAT(server->host().acknowledged_peers, testing::Contains(1u));
  ASSERT_EQ(dial(), 0);
  EXPECT_EQ(gateway_->forwarded, by_gateway) << "not one packet by way of the gateway";
  introduce(*server, *client, 2, true);
  introduce(*client, *server, 2, true);
  ASSERT_TRUE(gateway_->RunUntil([&] {
    return testing::Value(server->host().acknowledged_peers, testing::Contains(2u)) &&
           testing::Value(client->host().acknowledged_peers, testing::Contains(2u));
  }));
  ASSERT_EQ(dial(), 0);
  EXPECT_GT(gateway_->forwarded, by_gateway) << "withdrawn: the gateway again";
}

// ---- exec ----

TEST_F(AgentTest, ExecRunsInsideTheHost) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  FileDescriptor in(fds[0]), out(fds[1]);
  const FileDescriptor session =
      Request(*agent, {"sh", "-c", "hostname; ls /sys/class/net; cat /proc/1/comm; exit 5"},
              out.get());
  out.Reset();
  const proto::ExecResult result = Result(session);
  EXPECT_EQ(result.error(), "");
  EXPECT_EQ(result.exit_code(), 5);
  char buffer[256];
  const ssize_t n = read(in.get(), buffer, sizeof(buffer));
  EXPECT_EQ(std::string(buffer, std::max<ssize_t>(n, 0)), "host3\nim0\nlo\nim-init\n");
}

TEST_F(AgentTest, ExecSaysWhyACommandCannotBeRun) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  EXPECT_EQ(Result(Request(*agent, {"nosuch"}, 2)).error(),
            "exec nosuch: No such file or directory");
  EXPECT_EQ(Result(Request(*agent, {}, 2)).error(), "no command");
}

TEST_F(AgentTest, ExecThawsForwardsSignalsAndKeepsTheHostUp) {
  auto agent = MakeAgent(3, "tcp");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(100);
  agent->Start();
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  const FileDescriptor session = Request(*agent, {"sleep", "1000"}, 2);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING));
  EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::EXEC);
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy() == "exec session"; }));
  proto::ExecToAgent signal;
  signal.mutable_signal()->set_signal(SIGINT);
  ASSERT_TRUE(SendSeqPacket(session.get(), signal.SerializeAsString()).ok());
  EXPECT_EQ(Result(session).exit_code(), 128 + SIGINT);
  EXPECT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
}

TEST_F(AgentTest, ExecAClientThatGoesHangsUpTheCommand) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const std::string file = agent->directory() + "/said";
  const auto said = [&](const std::string& text) {
    return gateway_->RunUntil([&] { return ReadSmallFile(file) == text; });
  };
  const FileDescriptor out(open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  FileDescriptor session = Request(
      *agent, {"sh", "-c", "trap 'echo hup; exit' HUP; echo up; sleep 1000 & wait"}, out.get());
  ASSERT_TRUE(said("up\n"));
  session.Reset();
  EXPECT_TRUE(said("up\nhup\n"));
}

}  // namespace
}  // namespace im::agent
