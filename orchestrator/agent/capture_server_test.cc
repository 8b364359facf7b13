#include "orchestrator/agent/capture_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/pcap_writer.h"

namespace im::agent {
namespace {

class CaptureServerTest : public testing::Test {
 protected:
  CaptureServerTest() {
    std::string directory = testing::TempDir() + "im-capture-XXXXXX";
    EXPECT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    server_ = *CaptureServer::Listen(path(), *loop_, [this](bool used) { used_ = used; });
  }
  ~CaptureServerTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  std::string path() const { return directory_ + "/capture.sock"; }
  void Turn(int turns = 10) {
    for (int i = 0; i < turns; ++i) loop_->RunOnce(Duration(0));
  }
  FileDescriptor Connect() {
    FileDescriptor client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path().data(), path().size());
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    Turn();
    return client;
  }
  // A batch of packets, and the turn's end behind it.
  void Pass(size_t packets, size_t size) {
    for (size_t i = 0; i < packets; ++i) server_->OnPacket(std::vector<uint8_t>(size, 0x45));
    Turn();
  }
  // What there is to be read now; `closed` says whether that was all.
  std::string Hear(const FileDescriptor& client, bool* closed = nullptr) {
    std::string all;
    std::vector<char> buffer(1 << 20);
    while (true) {
      const ssize_t n = recv(client.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n <= 0) {
        if (closed != nullptr) *closed = n == 0;
        return all;
      }
      all.append(buffer.data(), static_cast<size_t>(n));
      Turn();
    }
  }
  static PcapRecordHeader TrailerOf(const std::string& heard) {
    PcapRecordHeader trailer{};
    EXPECT_GE(heard.size(), sizeof(trailer));
    std::memcpy(&trailer, heard.data() + heard.size() - sizeof(trailer), sizeof(trailer));
    EXPECT_EQ(trailer.captured_bytes, kCaptureTrailerMark);
    return trailer;
  }

  RealClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
  std::string directory_;
  bool used_ = false;
  std::unique_ptr<CaptureServer> server_;
};

TEST_F(CaptureServerTest, AClientGetsAFileOfWhatPassesFromThenOn) {
  EXPECT_FALSE(used_);
  const FileDescriptor client = Connect();
  EXPECT_TRUE(used_);
  EXPECT_EQ(Hear(client), PcapFileHeader()) << "even before there is a packet";
  Pass(2, 40);
  EXPECT_EQ(Hear(client).size(), 2 * (sizeof(PcapRecordHeader) + 40));
}

TEST_F(CaptureServerTest, WhoHasEnoughGetsTheRestAndATrailer) {
  const FileDescriptor client = Connect();
  Pass(3, 40);
  shutdown(client.get(), SHUT_WR);
  Turn();
  Pass(5, 40);
  bool closed = false;
  const std::string heard = Hear(client, &closed);
  EXPECT_TRUE(closed);
  EXPECT_FALSE(used_);
  const PcapRecordHeader trailer = TrailerOf(heard);
  EXPECT_EQ(trailer.seconds, 3u);
  EXPECT_EQ(trailer.original_bytes, 0u);
  EXPECT_EQ(heard.size(), kPcapFileHeaderBytes + 3 * (sizeof(trailer) + 40) + sizeof(trailer));
}

TEST_F(CaptureServerTest, WhoDoesNotReadLosesCopiesAndOthersDoNot) {
  const FileDescriptor slow = Connect();
  const FileDescriptor quick = Connect();
  constexpr size_t kSize = 60'000;
  constexpr size_t kPackets = 3 * CaptureServer::kBufferBytesMax / kSize;
  size_t quick_heard = 0;
  for (size_t i = 0; i < kPackets; ++i) {
    Pass(1, kSize);
    quick_heard += Hear(quick).size();
  }
  EXPECT_EQ(quick_heard, kPcapFileHeaderBytes + kPackets * (sizeof(PcapRecordHeader) + kSize));
  shutdown(slow.get(), SHUT_WR);
  Turn();
  bool closed = false;
  const std::string heard = Hear(slow, &closed);
  EXPECT_TRUE(closed);
  const PcapRecordHeader trailer = TrailerOf(heard);
  EXPECT_GT(trailer.original_bytes, 0u);
  EXPECT_EQ(trailer.seconds + trailer.original_bytes, kPackets);
  // Whole packets were lost: all that came can be read.
  EXPECT_EQ(heard.size(), kPcapFileHeaderBytes +
                              trailer.seconds * (sizeof(trailer) + kSize) + sizeof(trailer));
}

TEST_F(CaptureServerTest, WhoGoesIsForgotten) {
  FileDescriptor client = Connect();
  client.Reset();
  Turn();
  EXPECT_FALSE(used_);
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(CaptureServerTest, ThereIsALimitOfClients) {
  std::vector<FileDescriptor> clients;
  for (size_t i = 0; i < CaptureServer::kClientsMax; ++i) clients.push_back(Connect());
  const FileDescriptor one_more = Connect();
  bool closed = false;
  EXPECT_EQ(Hear(one_more, &closed), "");
  EXPECT_TRUE(closed);
  EXPECT_EQ(server_->clients(), CaptureServer::kClientsMax);
}

TEST_F(CaptureServerTest, TheSocketGoesWithTheServer) {
  const FileDescriptor client = Connect();
  Pass(1, 40);
  server_.reset();
  bool closed = false;
  EXPECT_EQ(Hear(client, &closed).size(),
            kPcapFileHeaderBytes + sizeof(PcapRecordHeader) + 40);
  EXPECT_TRUE(closed);
  EXPECT_FALSE(std::filesystem::exists(path()));
}

}  // namespace
}  // namespace im::agent
