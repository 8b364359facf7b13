#include "orchestrator/agent/tun_attachment.h"

#include <sys/epoll.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

// Reads of one turn: up to half a megabyte in super-packets, after which the
// socket has its turn.
constexpr int kTunReadsPerTurn = 8;
// Turns in which the kernel is listened to out of turn: more packets than its
// queue holds (500).
constexpr int kLastReadsMax = 64;

EarlyPackets::Listens ListensBy(pid_t process) {
  return [process](uint8_t protocol, bool v6, uint16_t port) {
    const bool tcp = protocol == kProtocolTcp;
    const std::string sockets =
        absl::StrCat("/proc/", process, "/net/", tcp ? "tcp" : "udp", v6 ? "6" : "");
    return ListensOutside(ReadSmallFile(sockets), tcp ? SocketKind::kTcp : SocketKind::kUdp, port);
  };
}

}  // namespace

TunAttachment::TunAttachment(const Options& options, EventLoop& loop, Delegate& delegate)
    : options_(options),
      loop_(loop),
      delegate_(delegate),
      early_(options.hold_for, options.dual_stack ? ListensBy(options.init) : nullptr) {}

absl::Status TunAttachment::Adopt(FileDescriptor fd) {
  IM_ASSIGN_OR_RETURN(tun_, TunDevice::Adopt(std::move(fd), {.offload = options_.offload}));
  watch_ = loop_.WatchFd(tun_->fd(), EPOLLIN, [this](uint32_t) { OnReadable(); });
  if (!before_tun_.empty()) tun_->Write(before_tun_, drops_);
  before_tun_ = PacketBatch();
  return absl::OkStatus();
}

void TunAttachment::Write(PacketBatch batch) {
  if (batch.empty()) return;
  if (tun_) {
    tun_->Write(batch, drops_);
    return;
  }
  for (const Packet& packet : batch) {
    if (before_tun_.size() < kBeforeTunMax) {
      before_tun_.AppendCopy(packet);
    } else {
      drops_.Add(DropReason::kQueueFull);
    }
  }
}

bool TunAttachment::OnReadable() {
  PacketBatch batch;
  if (const absl::Status status = tun_->Read(batch, kTunReadsPerTurn); !status.ok()) {
    // The device goes with its namespace; the end of the program tells us.
    IM_LOG(kDebug, "TUN: ", std::string(status.message()));
    watch_.Reset();
  }
  if (batch.empty()) return false;
  delegate_.OnFromProgram(std::move(batch));
  return true;
}

void TunAttachment::Drain() {
  for (int i = 0; tun_ && watch_.active() && i < kLastReadsMax; ++i)
    if (!OnReadable()) break;
}

bool TunAttachment::LetIn(const Packet& packet, const IpView& view) {
  return !early_.young() ||
         early_.OnInbound(packet, view, loop_.now()) == EarlyPackets::Verdict::kPass;
}

bool TunAttachment::LetOut(const Packet& packet, const IpView& view) {
  return !early_.young() ||
         early_.OnOutbound(packet, view, loop_.now()) == EarlyPackets::Verdict::kPass;
}

void TunAttachment::OnTimer() {
  if (early_.NextDeadline() > loop_.now()) return;
  // What the kernel refused it had refused before our write returned: a late
  // turn must not take silence for consent.
  Drain();
  PacketBatch offers, refusals;
  early_.OnTimer(loop_.now(), offers, refusals);
  Write(std::move(offers));
  if (!refusals.empty()) delegate_.OnRefusals(std::move(refusals));
}

int TunAttachment::CountConnections() const { return agent::CountConnections(options_.init); }

void TunAttachment::OnProgramEnd() {
  Drain();
  PacketBatch refusals;
  early_.OnProgramExit(refusals);
  if (!refusals.empty()) delegate_.OnRefusals(std::move(refusals));
}

}  // namespace im::agent
