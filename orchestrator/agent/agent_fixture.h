// The real im-agent against a gateway in this process. Each test runs programs
// of its own (test_programs_test.cc).

#ifndef IM_ORCHESTRATOR_AGENT_AGENT_FIXTURE_H_
#define IM_ORCHESTRATOR_AGENT_AGENT_FIXTURE_H_

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "orchestrator/agent/cgroup_layout.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/seq_packet.h"
#include "orchestrator/agent/test_gateway.h"

namespace im::agent {

// Where the test programs listen.
inline constexpr uint16_t kPort = 7000;

class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::Status status = EnterTestNetwork();
    if (absl::IsPermissionDenied(status)) GTEST_SKIP() << status.message();
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
    // Forgotten when it is closed: what it would repeat then could wake the host
    // of a later test, which has the same address.
    const linger none{1, 0};
    EXPECT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
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
  int FinishConnect(const FileDescriptor& fd, Duration deadline = std::chrono::seconds(10)) {
    pollfd writable = {fd.get(), POLLOUT, 0};
    if (!gateway_->RunUntil([&] { return poll(&writable, 1, 0) > 0; }, deadline)) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
  }
  std::string Receive(const FileDescriptor& fd, Duration deadline = std::chrono::seconds(10)) {
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
    if (bytes == "(none)" || !result.ParseFromString(bytes) || !result.ended())
      result.set_error("no result");
    return result;
  }

  std::unique_ptr<TestGateway> gateway_;
};

// The agent's cgroup directory of version 2; "" where that is not used.
inline std::string CgroupOf(const TestAgent& agent) {
  const CgroupLayout layout = ParseCgroupLayout(ReadSmallFile("/proc/self/mountinfo"),
                                                ReadSmallFile("/proc/self/cgroup"));
  if (!layout.v2) return "";
  const std::string group = absl::StrCat("/im/", agent.request.cluster(), "/",
                                         agent.request.host(), ".1");
  for (const std::string& base : {layout.v2->root, layout.v2->own})
    if (std::filesystem::exists(base + group)) return base + group;
  return "";
}

inline bool IsFrozen(const TestAgent& agent) {
  return ReadSmallFile(CgroupOf(agent) + "/cgroup.events").find("frozen 1") != std::string::npos;
}

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_AGENT_FIXTURE_H_
