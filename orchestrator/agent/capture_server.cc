#include "orchestrator/agent/capture_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/pcap_writer.h"
#include "orchestrator/agent/unix_listener.h"

namespace im::agent {

absl::StatusOr<std::unique_ptr<CaptureServer>> CaptureServer::Listen(
    const std::string& path, EventLoop& loop, std::function<void(bool used)> on_used) {
  IM_ASSIGN_OR_RETURN(FileDescriptor listener, ListenAtPath(path, SOCK_STREAM));
  return std::unique_ptr<CaptureServer>(
      new CaptureServer(path, std::move(listener), loop, std::move(on_used)));
}

CaptureServer::CaptureServer(std::string path, FileDescriptor listener, EventLoop& loop,
                             std::function<void(bool)> on_used)
    : path_(std::move(path)),
      listener_(std::move(listener)),
      loop_(loop),
      on_used_(std::move(on_used)),
      self_(std::make_shared<CaptureServer*>(this)) {
  watch_ = loop_.WatchFd(listener_.get(), EPOLLIN, [this](uint32_t) { OnConnection(); });
}

CaptureServer::~CaptureServer() {
  *self_ = nullptr;
  // What was copied is still theirs, as far as their sockets take it.
  for (Client& client : clients_) Flush(client);
  unlink(path_.c_str());
}

void CaptureServer::OnConnection() {
  FileDescriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid() || clients_.size() >= kClientsMax) return;
  const auto it = clients_.emplace(clients_.end());
  it->buffer = PcapFileHeader();
  it->watch = loop_.WatchFd(socket.get(), EPOLLIN, [this, it](uint32_t events) {
    OnReady(it, events);
  });
  it->socket = std::move(socket);
  if (clients_.size() == 1) on_used_(true);
  if (!Flush(*it)) Forget(it);
}

void CaptureServer::OnPacket(std::span<const uint8_t> packet) {
  const int64_t now = loop_.clock().UnixNanos();
  for (Client& client : clients_) {
    if (client.ending) continue;
    const size_t waiting = client.buffer.size() - client.sent;
    if (waiting + sizeof(PcapRecordHeader) + packet.size() > kBufferBytesMax) {
      ++client.lost;
      continue;
    }
    AppendPcapRecord(packet, now, client.buffer);
    ++client.captured;
  }
  if (std::exchange(flush_due_, true)) return;
  // After the packets themselves were sent on.
  loop_.AtEndOfTurn([self = self_] {
    if (*self == nullptr) return;
    CaptureServer& that = **self;
    that.flush_due_ = false;
    for (auto it = that.clients_.begin(); it != that.clients_.end();) {
      const auto current = it++;
      if (!current->blocked && !that.Flush(*current)) that.Forget(current);
    }
  });
}

void CaptureServer::OnReady(Clients::iterator it, uint32_t events) {
  Client& client = *it;
  if ((events & EPOLLIN) != 0 && !client.ending) {
    char ignored[64];
    const ssize_t n = recv(client.socket.get(), ignored, sizeof(ignored), 0);
    if (n == 0) {
      client.ending = true;
      PcapRecordHeader trailer{};
      std::memcpy(&trailer, &client.captured, sizeof(client.captured));
      trailer.captured_bytes = kCaptureTrailerMark;
      trailer.original_bytes =
          static_cast<uint32_t>(std::min<uint64_t>(client.lost, UINT32_MAX));
      client.buffer.append(reinterpret_cast<const char*>(&trailer), sizeof(trailer));
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
      return Forget(it);
    }
  }
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return Forget(it);  // gone altogether
  if (!Flush(client)) Forget(it);
}

bool CaptureServer::Flush(Client& client) {
  while (client.sent < client.buffer.size()) {
    const ssize_t n = send(client.socket.get(), client.buffer.data() + client.sent,
                           client.buffer.size() - client.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return false;
    if (n < 0) break;
    client.sent += static_cast<size_t>(n);
  }
  client.blocked = client.sent < client.buffer.size();
  if (!client.blocked) {
    client.buffer.clear();
    client.sent = 0;
    if (client.ending) return false;
  } else if (client.sent > kBufferBytesMax / 2) {
    client.buffer.erase(0, client.sent);
    client.sent = 0;
  }
  // Its shut-down side would be readable for ever.
  uint32_t events = 0;
  if (!client.ending) events |= EPOLLIN;
  if (client.blocked) events |= EPOLLOUT;
  client.watch.SetEvents(events);
  return true;
}

void CaptureServer::Forget(Clients::iterator it) {
  clients_.erase(it);
  if (clients_.empty()) on_used_(false);
}

}  // namespace im::agent
