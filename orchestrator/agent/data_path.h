// DataPath: the packets between the program's attachment and the tunnel.
//
//   from the program:  DNS questions to the gateway (by either family) → answered
//                        here, but for those that imd alone knows of → tunnel;
//                        no use. Those that it does not answer (passed_questions.h)
//                        are failed here
//                      the gateway's control port    → dropped, spoofed
//                      multicast, link noise         → dropped
//                      refusals of early packets     → kept (Attachment::LetOut)
//                      all others                    → tunnel
//   from the tunnel:   gateway:1 → host:1            → control message
//                      gateway:53, its answers       → program; no use, but they thaw it
//                      all others                    → what they mean to
//                        idleness is told first, then the attachment has them,
//                        and last it is said that they are there
//
// Batches pass whole, without a copy, unless something in them stays here.

#ifndef IM_ORCHESTRATOR_AGENT_DATA_PATH_H_
#define IM_ORCHESTRATOR_AGENT_DATA_PATH_H_

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/counters.h"
#include "base/dual_stack.h"
#include "base/event_loop.h"
#include "base/packet_sink.h"
#include "orchestrator/agent/attachment.h"
#include "orchestrator/agent/direct_peers.h"
#include "orchestrator/agent/packet_tap.h"
#include "orchestrator/agent/passed_questions.h"
#include "orchestrator/agent/traffic.h"
#include "orchestrator/names/dns_responder.h"
#include "tunnel/driver.h"

namespace im::agent {

inline constexpr uint16_t kControlPort = 1;

// While a host goes to disk, some 50 ms; its peers were told to go by the gateway.
inline constexpr size_t kKeptPacketsMax = 4096;

// `inside` of the tunnel's Driver.
class DataPath final : public PacketSink, public Attachment::Delegate {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // The packet shows use; it is handed to the program's network after this
    // returns, with the others of its batch.
    virtual void OnInboundUse(Use use, const IpView& packet) = 0;
    // That is done for all packets of a batch of which OnInboundUse was called.
    virtual void OnInboundDelivered() = 0;
    virtual void OnOutboundUse(const IpView& packet) = 0;
    // After the packets of the same batch were delivered.
    virtual void OnControl(std::span<const uint8_t> payload) = 0;
  };

  struct Options {
    IpAddress host;
    IpAddress gateway;
    Instant started_at;  // for first_answer
    DualStack dual_stack{};
  };

  // All must outlive it.
  DataPath(const Options& options, EventLoop& loop, names::DnsResponder& dns, Delegate& delegate)
      : options_(options), loop_(loop), dns_(dns), delegate_(delegate) {}

  // Both must come before packets do.
  void SetAttachment(Attachment& attachment) { attachment_ = &attachment; }
  void SetTunnel(tunnel::Driver& driver, DirectPeers& peers) {
    driver_ = &driver;
    peers_ = &peers;
  }

  // Who sees the packets that the program sends and gets, ours to the
  // orchestrator not among them; null: nobody.
  void SetTap(PacketTap* tap) { tap_ = tap; }

  // From the tunnel.
  void Write(PacketBatch batch) override;
  void SendControl(const tunnel::PublicKey& gateway, absl::string_view payload);

  // What comes for the program's network is kept, up to kKeptPacketsMax packets,
  // until LetGo; with `nor_out` what the network sends is dropped meanwhile: TCP
  // says it again.
  void Keep(bool nor_out);
  const PacketBatch& kept() const { return kept_; }
  // From now on datagrams that are delivered are remembered, up to kKeptPacketsMax,
  // until `remember` is false: of a program that is paused its kernel has them, and no
  // checkpoint of it.
  void RememberUnread(bool remember);
  const PacketBatch& unread() const { return unread_; }
  // As if these had come.
  void KeepMore(const PacketBatch& batch);
  void LetGo();

  // The program is being stopped. A SYN that is still under way to it is dropped, not refused:
  // its caller says it again, which the orchestrator holds for the next instance.
  void LetNoConnectionBegin() { lets_begin_ = false; }

  // From now on all goes by the gateway: others are being told to forget us.
  void SendOnlyBy(const tunnel::PublicKey& gateway) { only_by_ = gateway; }

  // Attachment::Delegate:
  void OnFromProgram(PacketBatch batch) override;
  void OnRefusals(PacketBatch batch) override {
    if (drops_out_) return;
    Tap(batch);
    Send(std::move(batch));
  }

  uint64_t rx_bytes() const { return rx_bytes_; }  // to the program
  uint64_t tx_bytes() const { return tx_bytes_; }
  const DropCounters& drops() const { return drops_; }
  bool listening() const { return listening_; }
  std::optional<Duration> first_answer() const { return first_answer_; }

 private:
  // A packet comes for the program, and is let in.
  bool Arrives(const Packet& packet, const IpView& view, Use use);
  void Deliver(PacketBatch arriving);
  // Whether the packet goes on. `answers` takes what we say to the program.
  bool FromProgram(const Packet& packet, PacketBatch& answers);
  bool FromTunnel(const Packet& packet);
  void Remember(const PacketBatch& batch);
  // Whether the questions go on to imd.
  bool AnswerDns(const Packet& packet, const IpView& view, PacketBatch& answers);
  // Until the next question that imd does not answer is to be failed.
  void ArmLateTimer();
  void FailLateQuestions();
  void Tap(const PacketBatch& batch) {
    if (tap_ == nullptr) return;
    for (const Packet& packet : batch) tap_->OnPacket(packet.bytes());
  }
  // Into the tunnel.
  void Send(PacketBatch batch);

  const Options options_;
  EventLoop& loop_;
  names::DnsResponder& dns_;
  Delegate& delegate_;
  Attachment* attachment_ = nullptr;
  tunnel::Driver* driver_ = nullptr;
  DirectPeers* peers_ = nullptr;
  PacketTap* tap_ = nullptr;
  std::optional<tunnel::PublicKey> only_by_;  // the gateway, once the program ended
  bool lets_begin_ = true;
  bool keeps_ = false;
  bool drops_out_ = false;
  PacketBatch kept_;
  bool remembers_ = false;
  PacketBatch unread_;
  std::vector<std::vector<uint8_t>> controls_;  // of the batch in work
  bool used_ = false;                           // by it
  PassedQuestions passed_;
  EventLoop::Timer late_timer_;
  Traffic traffic_;
  DropCounters drops_;
  uint64_t rx_bytes_ = 0;
  uint64_t tx_bytes_ = 0;
  bool listening_ = false;
  std::optional<Duration> first_answer_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_DATA_PATH_H_
