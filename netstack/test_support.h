// For the tests of this folder: a wire that keeps packets, a handler that
// writes down what it is told, and a link to a second process with a stack of
// its own (two cannot live in one).

#ifndef IM_NETSTACK_TEST_SUPPORT_H_
#define IM_NETSTACK_TEST_SUPPORT_H_

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/ip_header.h"
#include "base/random.h"
#include "base/segment_split.h"
#include "netstack/net.h"

namespace im::netstack {

inline std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Byte i of an endless stream that does not repeat within a window.
inline uint8_t PatternByte(uint64_t i) {
  return static_cast<uint8_t>((i * 2654435761u) >> 13 ^ i >> 24);
}

// Keeps what the stack sends, as the packets that super-packets stand for.
class Wire final : public PacketSink {
 public:
  struct Sent {
    std::vector<uint8_t> bytes;
  };
  void Write(PacketBatch batch) override {
    ++writes;
    for (const Packet& p : batch) {
      super_packets += p.segment_size != 0 ? 1 : 0;
      const SegmentSplitter segments(p);
      for (size_t i = 0; i < segments.count(); ++i) {
        sent.push_back({std::vector<uint8_t>(segments.size(i))});
        segments.Write(i, sent.back().bytes);
      }
    }
  }
  std::deque<Sent> sent;
  int writes = 0;
  int super_packets = 0;
};

// Writes down the events: "connected read(5) read-closed closed(OK)".
class RecordingHandler : public TcpConnection::Handler {
 public:
  void OnConnected() override { Add("connected"); }
  void OnReadable() override {
    if (!read_at_once) return Add("readable");
    ReadAll();
  }
  void OnWritable() override {
    Add("writable");
    if (on_writable) on_writable();
  }
  void OnReadClosed() override {
    Add("read-closed");
    if (close_with_peer) connection->CloseWrite();
  }
  void OnClosed(const absl::Status& status) override {
    closed = true;
    final_status = status;
    Add(status.ok() ? "closed" : "closed(" + std::string(status.message()) + ")");
  }

  void ReadAll() {
    uint8_t buffer[65536];
    while (const size_t n = connection->Read(buffer))
      data.append(reinterpret_cast<const char*>(buffer), n);
  }
  void Add(const std::string& event) {
    if (!events.empty()) events += ' ';
    events += event;
  }

  std::unique_ptr<TcpConnection> connection;
  std::function<void()> on_writable;
  std::string events;
  std::string data;
  absl::Status final_status;
  bool closed = false;
  bool read_at_once = true;
  bool close_with_peer = false;
};

// Runs turns until `done` or 60 s are over (a deadline, not a wait).
inline bool RunUntil(EventLoop& loop, const std::function<bool()>& done,
                     Duration turn = std::chrono::milliseconds(100)) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    loop.RunOnce(turn);
  }
  return true;
}

// Packets to and from another process over a SOCK_SEQPACKET socket. Loses and
// swaps packets by seed, if told to.
class SocketLink final : public PacketSink {
 public:
  struct Faults {
    uint64_t seed = 0;
    int lost_per_million = 0;
    int swapped_per_million = 0;
  };

  SocketLink(EventLoop& loop, FileDescriptor fd, const Faults& faults)
      : fd_(std::move(fd)), faults_(faults), random_(faults.seed) {
    EXPECT_TRUE(fd_.SetNonBlocking().ok());
    watch_ = loop.WatchFd(fd_.get(), EPOLLIN, [this](uint32_t events) { OnReady(events); });
  }

  void Attach(PacketSink& inside) { inside_ = &inside; }
  // The other process is gone.
  bool broken() const { return broken_; }
  // What was written is the other process' to read.
  bool sent_all() const { return queue_.empty(); }

  void Write(PacketBatch batch) override {
    for (const Packet& p : batch) {
      if (Happens(faults_.lost_per_million)) continue;
      std::vector<uint8_t> message(3 + p.size);
      message[0] = static_cast<uint8_t>(p.segment_size >> 8);
      message[1] = static_cast<uint8_t>(p.segment_size);
      message[2] = static_cast<uint8_t>(p.checksum_partial ? 2 : p.checksum_valid ? 1 : 0);
      std::memcpy(&message[3], p.data, p.size);
      queue_.push_back(std::move(message));
      if (queue_.size() > 1 && Happens(faults_.swapped_per_million))
        std::swap(queue_.back(), queue_[queue_.size() - 2]);
    }
    Send();
  }

 private:
  bool Happens(int per_million) {
    return per_million > 0 && random_.Below(1'000'000) < static_cast<uint64_t>(per_million);
  }

  void OnReady(uint32_t events) {
    if ((events & EPOLLOUT) != 0) Send();
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
    PacketBatch batch;
    static uint8_t buffer[70'000];
    for (int i = 0; i < 64; ++i) {
      const ssize_t n = recv(fd_.get(), buffer, sizeof(buffer), 0);
      if (n <= 0) {
        // The other process left something unread; what it sent is still to be had.
        if (n < 0 && errno == ECONNRESET) continue;
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
          broken_ = true;
          watch_.Reset();
        }
        break;
      }
      Packet& p = batch.AppendCopy(
          std::span<const uint8_t>(buffer + 3, static_cast<size_t>(n - 3)));
      p.segment_size = static_cast<uint16_t>(buffer[0] << 8 | buffer[1]);
      p.checksum_partial = buffer[2] == 2;
      p.checksum_valid = buffer[2] == 1;
    }
    if (!batch.empty()) inside_->Write(std::move(batch));
  }

  void Send() {
    while (!queue_.empty()) {
      const std::vector<uint8_t>& message = queue_.front();
      if (send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
        if (errno == EAGAIN) break;
        queue_.clear();
        return;
      }
      queue_.pop_front();
    }
    watch_.SetEvents(queue_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  }

  FileDescriptor fd_;
  Faults faults_;
  SeededRandom random_;
  PacketSink* inside_ = nullptr;
  EventLoop::Watch watch_;
  std::deque<std::vector<uint8_t>> queue_;
  bool broken_ = false;
};

// A loop, a stack and its one interface on a link.
struct LinkedStack {
  LinkedStack(FileDescriptor fd, const InterfaceOptions& options,
              const SocketLink::Faults& faults = {})
      : loop(EventLoop::Create(clock).value()),
        link(*loop, std::move(fd), faults),
        stack(*loop),
        nic(*stack.AddInterface(options, link).value()) {
    link.Attach(nic);
  }
  RealClock clock;
  std::unique_ptr<EventLoop> loop;
  SocketLink link;
  Stack stack;
  Interface& nic;
};

// A child process that runs `body` with one end of a socket pair; the parent
// has the other. Must be made before the parent has a stack.
class Child {
 public:
  explicit Child(const std::function<int(FileDescriptor)>& body) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    for (const int fd : fds) {
      const int size = 4 << 20;
      setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    }
    pid_ = fork();
    if (pid_ == 0) {
      close(fds[0]);
      _exit(body(FileDescriptor(fds[1])));
    }
    close(fds[1]);
    fd_ = FileDescriptor(fds[0]);
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  FileDescriptor TakeFd() { return std::move(fd_); }
  // Its exit code, or -1 if it was killed.
  int Wait() {
    int status = 0;
    const pid_t pid = std::exchange(pid_, -1);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = -1;
  FileDescriptor fd_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_TEST_SUPPORT_H_
