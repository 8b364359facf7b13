// For the tests of this folder: the peer of an intercepted host, with services
// to talk to, and what runs programs in the host, most of them scripts for
// Python, which shows each call's outcome as it is.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_INTERCEPT_PEER_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_INTERCEPT_PEER_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "orchestrator/agent/intercept/intercepted_host.h"

namespace im::agent {

inline constexpr char kPrelude[] = R"(
import asyncio, errno, os, select, signal, socket, struct, subprocess, sys, threading, time
PEER = '10.0.0.1'
HOST = '10.0.0.2'
def error_of(f, *args):
    try:
        f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return 'none'
def expect(what, wanted):
    if what != wanted:
        raise AssertionError(f'{what!r}, wanted {wanted!r}')
def give_up(*what):
    sys.__excepthook__(*what)
    os.killpg(0, signal.SIGKILL)
sys.excepthook = give_up
os.setpgid(0, 0)
def read_all(s):
    data = b''
    while True:
        piece = s.recv(65536)
        if not piece:
            return data
        data += piece
)";

// The peer's services, by TCP port: 7 echoes and closes with its client, 9 reads
// 4 bytes and resets, 13 says a word and closes, 19 sends 3 MB and closes, 21
// takes and never reads. UDP port 7 echoes. Nobody has port 1.
class Peer {
 public:
  explicit Peer(FileDescriptor link_fd)
      : linked_(std::move(link_fd), {.address = kPeerAddress, .prefix_length = 24}) {
    for (const uint16_t port : {7, 9, 13, 19, 21}) {
      listeners_.push_back(
          linked_.stack
              .Listen({kPeerAddress, port},
                      [this, port](std::unique_ptr<netstack::TcpConnection> connection) {
                        clients_.push_back(
                            std::make_unique<Client>(port, std::move(connection)));
                      })
              .value());
    }
    udp_ = linked_.stack
               .BindUdp({kPeerAddress, 7},
                        [this](const Endpoint& from, std::span<const uint8_t> payload) {
                          EXPECT_TRUE(udp_->SendTo(from, payload).ok());
                        })
               .value();
  }

  netstack::LinkedStack& linked() { return linked_; }

 private:
  struct Client : netstack::TcpConnection::Handler {
    Client(uint16_t p, std::unique_ptr<netstack::TcpConnection> c)
        : port(p), connection(std::move(c)) {
      connection->SetHandler(this);
      if (port == 13) {
        connection->Write(netstack::Bytes("hello"));
        connection->CloseWrite();
      }
      if (port == 19) OnWritable();
    }
    void OnReadable() override {
      if (port == 21) return;
      if (port == 9) {
        if (connection->ReadableBytes() >= 4) connection.reset();
        return;
      }
      uint8_t buffer[65536];
      while (const size_t n = connection->Read(buffer))
        waiting.insert(waiting.end(), buffer, buffer + n);
      OnWritable();
    }
    void OnWritable() override {
      while (port == 19 && sent < 3'000'000) {
        uint8_t piece[10'000];
        for (size_t i = 0; i < sizeof(piece); ++i) piece[i] = netstack::PatternByte(sent + i);
        const auto next = std::span(piece).first(std::min(sizeof(piece), 3'000'000 - sent));
        const size_t n = connection->Write(next);
        sent += n;
        if (n < next.size()) return;
      }
      if (port == 19) return connection->CloseWrite();
      const size_t n = connection->Write(waiting);
      waiting.erase(waiting.begin(), waiting.begin() + static_cast<ptrdiff_t>(n));
      if (waiting.empty() && peer_closed) connection->CloseWrite();
    }
    void OnReadClosed() override {
      peer_closed = true;
      if (port == 7) OnWritable();
    }
    void OnClosed(const absl::Status&) override {}

    uint16_t port;
    std::unique_ptr<netstack::TcpConnection> connection;
    std::vector<uint8_t> waiting;
    size_t sent = 0;
    bool peer_closed = false;
  };

  netstack::LinkedStack linked_;
  std::vector<std::unique_ptr<netstack::TcpListener>> listeners_;
  std::unique_ptr<netstack::UdpEndpoint> udp_;
  std::list<std::unique_ptr<Client>> clients_;
};

// Runs `argv` in a host and gives its exit code. `meanwhile` is called each turn.
inline int RunInHost(const std::vector<std::string>& argv,
              const std::function<void(netstack::LinkedStack&)>& meanwhile = nullptr) {
  netstack::Child child([&](FileDescriptor fd) { return RunHost(std::move(fd), argv); });
  Peer peer(child.TakeFd());
  EXPECT_TRUE(netstack::RunUntil(*peer.linked().loop, [&] {
    if (meanwhile) meanwhile(peer.linked());
    return peer.linked().link.broken();
  }));
  return child.Wait();
}

inline int RunPython(const std::string& script,
              const std::function<void(netstack::LinkedStack&)>& meanwhile = nullptr) {
  return RunInHost({"/usr/bin/python3", "-c", kPrelude + script}, meanwhile);
}

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_INTERCEPT_PEER_H_
