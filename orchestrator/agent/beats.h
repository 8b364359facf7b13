// Beats: who begins the heartbeats between a host and the fellows of its group.
//
// Members of an ensemble send each other something every so often, and take a
// fellow that is not heard from for dead. Mostly one end of a pair begins (a
// leader's ping, an executor's report) and the other answers. Who does is seen
// from the times between packets that change direction: the answer comes soon
// after the beat, the next beat much later. So for each pair
//
//   time from our packet to theirs < time from theirs to ours: we begin
//
// Each turn of the conversation is a vote; the last kVotesMax decide. Where there
// are no turns, packets that all go one way (kOneWay of them in a row) are beats
// without an answer; kOneWay * 4 of them take a vote back.
// No threshold in seconds is needed, so beats of 100 ms and of a minute are
// told alike. A pair that was silent for much longer than its beats were apart
// is forgotten until it speaks again.
//
// Times across a pause say nothing, and the silence does not grow meanwhile. But
// it does not begin anew either: two members that spoke once would else be taken
// for a pair with beats as long as the group is awake for moments only.

#ifndef IM_ORCHESTRATOR_AGENT_BEATS_H_
#define IM_ORCHESTRATOR_AGENT_BEATS_H_

#include <chrono>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/ip_address.h"

namespace im::agent {

class Beats {
 public:
  static constexpr int kVotesMax = 3;
  static constexpr int kOneWay = 4;

  // Who begins: nobody (known yet), we and they answer, we without an answer, they.
  enum class Role { kNone, kLeads, kLeadsUnanswered, kFollows };

  // A packet with payload to (`inbound`: from) the fellow.
  void OnPayload(const IpAddress& fellow, bool inbound, Instant now);
  void OnPause(Instant now) { paused_at_ = now; }
  void OnThaw(Instant now);
  // The fellow is gone.
  void Forget(const IpAddress& fellow) { pairs_.erase(fellow); }

  Role RoleTowards(const IpAddress& fellow, Instant now) const;
  // The fellows with one of these roles, in order of address.
  std::vector<IpAddress> Fellows(std::initializer_list<Role> roles, Instant now) const;
  // Within which the next beat of each of the fellows must come, if they go on
  // as they did.
  Duration NextBeatWithin(const std::vector<IpAddress>& fellows) const;

 private:
  struct Pair {
    Instant last;             // packet of either direction
    bool inbound = false;     // its direction
    bool fresh = true;        // `last` is of before a pause, or there was none
    int run = 0;              // packets in a row in this direction
    Duration to_answer{-1};   // of the last turn each; -1: none yet
    Duration to_beat{-1};     // theirs to ours
    int votes = 0;            // > 0: we begin
    Duration longest{0};      // between packets; forgotten slowly
  };
  static Role RoleOf(const Pair& pair, Instant now);
  static Duration SilentAfter(const Pair& pair);

  absl::flat_hash_map<IpAddress, Pair> pairs_;
  Instant paused_at_ = kNever;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_BEATS_H_
