// Sender: packets from inside → sealed datagrams.
//
// A batch is sorted by peer first; then each peer's packets are laid into runs
// (run_builder.h), super-packets being cut on the way, and sealed together.
// Counters, timers and limits are looked at once for each peer and batch.
// Where a session is missing, packets are staged and a handshake begins.

#ifndef IM_TUNNEL_SENDER_H_
#define IM_TUNNEL_SENDER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/packet.h"
#include "tunnel/aead.h"
#include "tunnel/device_state.h"
#include "tunnel/handshaker.h"
#include "tunnel/outbox.h"
#include "tunnel/path_mtu.h"
#include "tunnel/run_builder.h"

namespace im::tunnel {

// Calls no delegate.
class Sender {
 public:
  Sender(DeviceState& state, Handshaker& handshaker) : state_(state), handshaker_(handshaker) {}

  // By AllowedIPs.
  void SendInside(PacketBatch& batch, Instant now, Outbox& out);
  // What is staged goes first.
  void SendTo(Peer& peer, std::span<Packet> packets, Instant now, Outbox& out);
  // What is staged; if nothing is and the session was never used, a keepalive,
  // which tells the other end that the handshake is complete ([W] 6.5).
  void SendStaged(Peer& peer, bool confirm, Instant now, Outbox& out);
  // Or a handshake, if there is no session.
  void SendKeepalive(Peer& peer, Instant now, Outbox& out);
  // The probe of the path that is due, if one is; and what its senders are to
  // be told, once its MTU is known. To be called whenever it may have changed.
  void SendProbe(Peer& peer, Instant now, Outbox& out);
  void AnswerProbe(Peer& peer, const ProbeMessage& probe, Instant now, Outbox& out);

 private:
  // The peer that carries packets to `destination`. A standby peer that was
  // passed over for not being live is tried again.
  Peer* RouteTo(const IpAddress& destination, Instant now, Outbox& out);
  void Stage(Peer& peer, std::span<const Packet> packets);
  // Seals as many packets as the session can take; returns how many. An empty
  // packet is a keepalive.
  size_t Seal(Peer& peer, Session& session, std::span<Packet> packets, Instant now, Outbox& out);
  // Makes the packet fit the peer's path. False if it is not to be sent: its
  // sender was told.
  bool FitPath(Peer& peer, Packet& packet, Instant now, Outbox& out);
  // The same for a stock peer's, which has the usual MTU.
  bool FitUsual(Packet& packet, Outbox& out);
  void TellMtu(std::span<const uint8_t> packet, int mtu, Outbox& out);
  void SealProbe(Peer& peer, Session& session, const ProbeMessage& probe, size_t size, Instant now,
                 Outbox& out);
  // False if the session is used up. What cannot be sent at all is dropped.
  bool Add(Session& session, Packet& packet, Instant now, RunBuilder& runs);
  bool AddSuperPacket(Session& session, const Packet& packet, Instant now, RunBuilder& runs);
  // Room for `size` bytes of plaintext, the header being written; the job
  // reads them from `in`, or in place if that is null. What was added before
  // may be sealed by it.
  uint8_t* AddJob(Session& session, size_t size, const uint8_t* in, uint8_t ecn,
                  RunBuilder& runs);
  size_t PaddedSize(size_t size) const;

  DeviceState& state_;
  Handshaker& handshaker_;
  uint64_t batch_number_ = 0;
  // Of the peer whose packets are being sealed.
  size_t mtu_ = 0;
  bool vouch_ = false;
  // Scratch, kept for its memory.
  std::vector<Peer*> order_;
  std::vector<uint32_t> next_;
  std::vector<Packet> packets_;
  std::vector<AeadJob> jobs_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_SENDER_H_
