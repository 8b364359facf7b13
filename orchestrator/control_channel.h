// ControlChannel: what imd and the agents tell each other, as datagrams.
//
// proto::ToAgent goes from the gateway's address to the host's, proto::
// ToOrchestrator back, both from and to UDP port kControlPort, inside the
// tunnel: authentic and secret, and the tunnel vouches for the source address.
//
// Level-triggered. Downwards: the newest DesiredState is repeated, ever
// slower, until a status acknowledges it; so are the updates of Introductions,
// which travel in the same messages. Upwards: every status is acknowledged,
// and one that is older than the newest is otherwise ignored. A message of
// another incarnation than the current one is counted and ignored, so an old
// instance cannot speak for a new one.
//
// No IO, no clock: packets and `now` in, packets out.

#ifndef IM_ORCHESTRATOR_CONTROL_CHANNEL_H_
#define IM_ORCHESTRATOR_CONTROL_CHANNEL_H_

#include <cstdint>
#include <span>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/ip_address.h"
#include "base/ip_header.h"
#include "base/packet.h"
#include "orchestrator/introductions.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

inline constexpr uint16_t kControlPort = 1;

// UDP payload of one message, in bytes: passes any path without fragments.
inline constexpr size_t kControlBytesMax = 1200;

// Largest message that is read, in bytes. Agents send less than 2 KB.
inline constexpr size_t kControlBytesReadMax = 16 << 10;

// Of a wake's detail, in bytes; the rest is cut off.
inline constexpr size_t kControlDetailBytesMax = 200;

class ControlChannel {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // The newest status of the instance; `goal_known`: the agent has seen the
    // newest DesiredState.
    virtual void OnStatus(const IpAddress& host, const proto::InstanceStatus& status,
                          bool goal_known) = 0;
  };

  struct Times {
    Duration repeat_first = std::chrono::milliseconds(30);
    Duration repeat_max = std::chrono::seconds(1);
  };

  struct Counters {
    uint64_t received = 0;
    uint64_t sent = 0;
    uint64_t malformed = 0;
    uint64_t unknown_sender = 0;
    uint64_t stale_incarnation = 0;
    uint64_t stale_status = 0;
  };

  // `introductions` and `delegate` must outlive it. Versions start above
  // `first_version`, which must be above all that were ever used with
  // instances that still live.
  ControlChannel(const IpAddress& gateway, const Times& times, uint64_t first_version,
                 Introductions& introductions, Delegate& delegate);

  // Messages of this incarnation count from now on.
  void Add(const IpAddress& host, uint64_t incarnation);
  void Remove(const IpAddress& host);

  // Preconditions: Add was called. `state.version` is filled in here.
  void SetDesired(const IpAddress& host, proto::DesiredState state, Instant now);

  // A UDP packet, or super-packet, to the gateway's control port. `view` is of
  // it.
  void OnPacket(const Packet& packet, const IpView& view, Instant now);

  // Appends the IP packets that are due.
  void Flush(Instant now, PacketBatch& out);
  Instant NextDeadline() const;

  const Counters& counters() const { return counters_; }

 private:
  struct Channel {
    uint64_t incarnation = 0;
    proto::DesiredState desired;  // version 0: none yet
    bool desired_acknowledged = true;
    uint64_t newest_status = 0;
    Duration interval{0};
    Instant due = kNever;  // of the repeat, or now if a status waits for our answer
  };

  void SetDue(const IpAddress& host, Channel& channel, Instant due);
  void OnMessage(const IpAddress& host, std::span<const uint8_t> payload, Instant now);
  void Send(const IpAddress& host, Channel& channel, Instant now, PacketBatch& out);

  const Endpoint gateway_;
  const Times times_;
  uint64_t last_version_;
  Introductions& introductions_;
  Delegate& delegate_;
  absl::flat_hash_map<IpAddress, Channel> channels_;
  absl::btree_set<std::pair<Instant, IpAddress>> due_;
  Counters counters_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CONTROL_CHANNEL_H_
