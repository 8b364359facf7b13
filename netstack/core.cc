#include "netstack/core.h"

#include <sodium/crypto_shorthash.h>

#include <array>
#include <cstring>
#include <utility>

#include "base/big_endian.h"
#include "base/check.h"
#include "lwip/init.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"
#include "netstack/block_pool.h"
#include "netstack/interface.h"

namespace im::netstack {
namespace {

// Members served in one turn before the loop gets a look at its descriptors.
constexpr int kDeferredPerTurn = 10'000;

// Bytes of output that may pile up before they are let out in mid-turn: two
// super-packets, which a tunnel seals and sends in one go. With more, the first
// of them have left the cache when they are sealed, and the peer idles.
constexpr size_t kMuchOutputBytes = 128 << 10;

// How often lwIP's reassembly counts down the age of fragments.
constexpr Duration kReassemblyInterval = std::chrono::seconds(1);

Core* current_core = nullptr;

void InitLwipOnce() {
  static bool done = false;
  if (!std::exchange(done, true)) lwip_init();
}

}  // namespace

// ---- Member ----

Core::Member::Member(Core* core) : core_(core) { core->members_.insert(this); }

Core::Member::~Member() {
  if (core_ == nullptr) return;
  Unlink();
  core_->members_.erase(this);
}

void Core::Member::Defer() {
  if (core_ == nullptr || deferred_) return;
  deferred_ = true;
  prev_ = core_->last_deferred_;
  next_ = nullptr;
  (prev_ == nullptr ? core_->first_deferred_ : prev_->next_) = this;
  core_->last_deferred_ = this;
  core_->Schedule();
}

void Core::Member::Unlink() {
  if (!deferred_) return;
  deferred_ = false;
  (prev_ == nullptr ? core_->first_deferred_ : prev_->next_) = next_;
  (next_ == nullptr ? core_->last_deferred_ : next_->prev_) = prev_;
}

// ---- Core ----

Core::Core(EventLoop& loop) : loop_(loop), timer_(loop, pcbs_) {
  IM_CHECK(current_core == nullptr);  // lwIP's state is global
  current_core = this;
  random_.Fill(sequence_key_);
  InitLwipOnce();
}

Core::~Core() {
  pcbs_.UnparkAll();
  for (Member* member : members_) {
    member->Unlink();
    member->OnStackGone();
    member->core_ = nullptr;
  }
  // What nobody owns any more: connections being closed, or half open.
  while (tcp_active_pcbs != nullptr) tcp_abort(tcp_active_pcbs);
  TrimTimeWait(0);
  for (auto& nic : interfaces_) nic->Flush();
  interfaces_.clear();
  TrimBlocks();
  current_core = nullptr;
}

Core* Core::current() { return current_core; }

void Core::Schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  loop_.AtEndOfTurn([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) EndOfTurn();
  });
}

void Core::EndOfTurn() {
  scheduled_ = false;
  for (int i = 0; i < kDeferredPerTurn && first_deferred_ != nullptr; ++i) {
    Member* member = first_deferred_;
    member->Unlink();
    member->RunDeferred();
    FlushIfMuch();
  }
  if (first_deferred_ != nullptr) Schedule();
  for (size_t i = 0; i < interfaces_.size(); ++i) interfaces_[i]->Flush();
}

void Core::FlushIfMuch() {
  for (size_t i = 0; i < interfaces_.size(); ++i)
    if (interfaces_[i]->pending_bytes() > kMuchOutputBytes) interfaces_[i]->Flush();
}

InterfaceImpl* Core::FindInterface(const IpAddress& address) {
  for (auto& nic : interfaces_)
    if (nic->options().address == address) return nic.get();
  return nullptr;
}

void Core::ExpectSuperPacket(uint16_t segment_size) {
  expected_segment_size_ = segment_size;
  for (auto& nic : interfaces_) nic->LiftMtu(true);
}

uint16_t Core::TakeSegmentSize() {
  if (expected_segment_size_ == 0) return 0;
  for (auto& nic : interfaces_) nic->LiftMtu(false);
  return std::exchange(expected_segment_size_, 0);
}

bool Core::HasFamily(bool v4) const {
  for (auto& nic : interfaces_)
    if (nic->options().address.is_v4() == v4) return true;
  return false;
}

void Core::OnFragment() {
  const bool running = reassembly_until_ > loop_.now();
  reassembly_until_ = loop_.now() + kReassemblyInterval * (IP_REASS_MAXAGE + 2);
  if (!running) ArmReassembly();
}

void Core::ArmReassembly() {
  reassembly_timer_ = loop_.After(kReassemblyInterval, [this] {
    Enter();
    ip_reass_tmr();
    ip6_reass_tmr();
    if (loop_.now() < reassembly_until_) ArmReassembly();
  });
}

uint16_t Core::EphemeralPort(const IpAddress& local, const Endpoint& remote) {
  return pcbs_.FreePort(local, remote, static_cast<uint32_t>(random_.Below(1 << 16)));
}

uint32_t Core::InitialSequence(const Endpoint& local, const Endpoint& remote) {
  std::array<uint8_t, 36> input;
  std::memcpy(&input[0], local.address.mapped().data(), 16);
  std::memcpy(&input[16], remote.address.mapped().data(), 16);
  StoreBig16(&input[32], local.port);
  StoreBig16(&input[34], remote.port);
  static_assert(crypto_shorthash_BYTES == 8 && crypto_shorthash_KEYBYTES == 16);
  std::array<uint8_t, 8> hash;
  crypto_shorthash(hash.data(), input.data(), input.size(), sequence_key_.data());
  // One count every 4 µs, so that a reused pair of endpoints moves on.
  const auto clock = loop_.now().time_since_epoch() / std::chrono::microseconds(4);
  return LoadBig32(hash.data()) + static_cast<uint32_t>(clock);
}

}  // namespace im::netstack
