#include "orchestrator/cli/agent_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

namespace im::orchestrator::cli {
namespace {

// The agent's side, in a directory whose path is longer than a socket's.
class AgentSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    base_ = (std::filesystem::temp_directory_path() / "im-exec-XXXXXX").string();
    ASSERT_NE(mkdtemp(base_.data()), nullptr);
    directory_ = base_ + "/" + std::string(120, 'd');
    std::filesystem::create_directory(directory_);
    const std::string old = std::filesystem::current_path().string();
    ASSERT_EQ(chdir(directory_.c_str()), 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, "agent.sock");
    listener_ = FileDescriptor(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    ASSERT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(listener_.get(), 1), 0);
    ASSERT_EQ(chdir(old.c_str()), 0);
  }
  void TearDown() override { std::filesystem::remove_all(base_); }

  std::string base_;
  std::string directory_;
  FileDescriptor listener_;
};

TEST_F(AgentSocketTest, SendsTheRequestWithStdioAndReadsTheResult) {
  auto client = AgentSocket::Connect(directory_);
  ASSERT_TRUE(client.ok()) << client.status();
  const FileDescriptor agent(accept(listener_.get(), nullptr, nullptr));
  proto::ExecRequest request;
  request.add_argv("ls");
  ASSERT_TRUE(client->SendRequest(request).ok());
  ASSERT_TRUE(client->SendSignal(15).ok());

  char bytes[4096];
  alignas(cmsghdr) char control[256];
  iovec part{bytes, sizeof(bytes)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const ssize_t size = recvmsg(agent.get(), &header, MSG_CMSG_CLOEXEC);
  proto::ExecToAgent message;
  ASSERT_TRUE(message.ParseFromArray(bytes, static_cast<int>(size)));
  EXPECT_EQ(message.request().argv(0), "ls");
  const cmsghdr* rights = CMSG_FIRSTHDR(&header);
  ASSERT_NE(rights, nullptr);
  ASSERT_EQ(rights->cmsg_len, CMSG_LEN(3 * sizeof(int)));
  int fds[3];
  std::memcpy(fds, CMSG_DATA(rights), sizeof(fds));
  for (int i = 0; i < 3; ++i) {
    const FileDescriptor passed(fds[i]);
    struct stat ours{};
    struct stat theirs{};
    ASSERT_EQ(fstat(i, &ours), 0);
    ASSERT_EQ(fstat(passed.get(), &theirs), 0);
    EXPECT_EQ(ours.st_ino, theirs.st_ino);
  }
  const ssize_t second = recv(agent.get(), bytes, sizeof(bytes), 0);
  ASSERT_TRUE(message.ParseFromArray(bytes, static_cast<int>(second)));
  EXPECT_EQ(message.signal().signal(), 15);

  proto::ExecResult result;
  result.set_exit_code(7);
  result.set_ended(true);
  const std::string answer = result.SerializeAsString();
  ASSERT_EQ(send(agent.get(), answer.data(), answer.size(), 0),
            static_cast<ssize_t>(answer.size()));
  const auto received = client->ReceiveResult();
  ASSERT_TRUE(received.ok());
  EXPECT_EQ(received->exit_code(), 7);
}

TEST_F(AgentSocketTest, AnAgentThatGoesAwayIsAnError) {
  auto client = AgentSocket::Connect(directory_);
  ASSERT_TRUE(client.ok());
  FileDescriptor(accept(listener_.get(), nullptr, nullptr)).Reset();
  EXPECT_EQ(client->ReceiveResult().status().code(), absl::StatusCode::kAborted);
}

TEST_F(AgentSocketTest, SuccessIsToldFromAnAnswerThatIsNone) {
  proto::ExecResult success;
  success.set_ended(true);
  proto::ExecResult unmarked;
  unmarked.set_exit_code(7);
  const std::string marked = success.SerializeAsString();
  struct Case {
    std::string answer;
    bool ok;
  };
  for (const Case& c : {Case{marked, true}, Case{"", false}, Case{unmarked.SerializeAsString(), false},
                        Case{marked.substr(0, 1), false}}) {
    auto client = AgentSocket::Connect(directory_);
    ASSERT_TRUE(client.ok());
    const FileDescriptor agent(accept(listener_.get(), nullptr, nullptr));
    ASSERT_EQ(send(agent.get(), c.answer.data(), c.answer.size(), 0),
              static_cast<ssize_t>(c.answer.size()));
    const auto result = client->ReceiveResult();
    EXPECT_EQ(result.ok(), c.ok) << result.status();
    if (result.ok()) {
      EXPECT_EQ(result->exit_code(), 0);
    }
  }
}

TEST_F(AgentSocketTest, ADirectoryWithoutAgentIsNamed) {
  const auto client = AgentSocket::Connect(base_);
  EXPECT_FALSE(client.ok());
  EXPECT_NE(std::string(client.status().message()).find(base_ + "/agent.sock"), std::string::npos);
}

}  // namespace
}  // namespace im::orchestrator::cli
