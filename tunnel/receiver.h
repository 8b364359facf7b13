// Receiver: datagrams → messages → opened, checked packets.
//
// Messages of one session that follow each other are opened together. Each then
// passes, in order:
//   [1] the replay window (before opening too, to save the work)  kReplayed
//   [2] authentication                                            kDecryptFailed
//   [3] an inner IP header whose length fits                      kMalformed
//   [4] the inner source lies in the peer's AllowedIPs            kSourceNotAllowed
// From [2] on the message counts: it confirms the session, moves the endpoint,
// and feeds the timers, all once for such a group of messages.

#ifndef IM_TUNNEL_RECEIVER_H_
#define IM_TUNNEL_RECEIVER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "tunnel/aead.h"
#include "tunnel/coalesce.h"
#include "tunnel/device_state.h"
#include "tunnel/handshaker.h"
#include "tunnel/outbox.h"
#include "tunnel/sender.h"

namespace im::tunnel {

class Receiver {
 public:
  Receiver(DeviceState& state, Handshaker& handshaker, Sender& sender)
      : state_(state), handshaker_(handshaker), sender_(sender) {}

  // Not to be called from a delegate.
  void OnDatagrams(DatagramBatch& batch, Instant now, Outbox& out);

 private:
  void OnDatagram(std::span<uint8_t> datagram, const DatagramRun& run, Instant now, Outbox& out);
  void OnTransport(std::span<uint8_t> datagram, const DatagramRun& run, Instant now, Outbox& out);
  // Opens and handles the messages that were put together.
  void FlushGroup(Instant now, Outbox& out);
  void OnFirstOfSession(Peer& peer);
  void OnRevived(Peer& peer);
  // True for a probe of the path or its answer, which is not data.
  bool OnProbe(Peer& peer, std::span<const uint8_t> plaintext, Instant now, Outbox& out);
  // `trusted`: its inner checksums are right.
  void OnPacket(Peer& peer, std::span<uint8_t> plaintext, bool trusted, uint8_t outer_ecn);
  bool SourceIsAllowed(const Peer& peer, const IpAddress& source);

  DeviceState& state_;
  Handshaker& handshaker_;
  Sender& sender_;
  Coalescer coalescer_;
  bool busy_ = false;

  // The group: messages of one session.
  Session* session_ = nullptr;
  std::vector<AeadJob> jobs_;
  std::vector<const DatagramRun*> runs_;  // where each came from

  // The last answer of SourceIsAllowed.
  const Peer* source_peer_ = nullptr;
  IpAddress source_;
  bool source_allowed_ = false;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_RECEIVER_H_
