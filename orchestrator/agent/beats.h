// Beats: who begins the heartbeats between a host and the fellows of its group.
//
// Members of an ensemble send each other something every so often, and take a
// fellow that is not heard from for dead. Mostly one end of a pair begins (a
// leader's ping, an executor's report), and the other answers at once, or not at
// all. So whoever begins is who breaks the silences:
//
//   balance = silent time that we ended - silent time that they ended
//
// Answers, and most of what they talk about besides, come after little silence
// and count for little. Of the past kPeriods of the longest silence count.
// No threshold in seconds is needed, so beats of 100 ms and of a minute are
// told alike. A pair that was silent for much longer than its beats were apart
// is forgotten until it speaks again.
//
// Some beats are not answered though the two talk (Spark's workers report to its
// master, and are asked to do things). Ours are if something followed the last
// one, which came after a long silence, within kAnswerMax.
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
  static constexpr int kPeriods = 3;
  // Who begins is not told from fewer packets.
  static constexpr int kPacketsMin = 3;

  // A beat that found no answer in so long finds none, this time.
  static constexpr Duration kAnswerMax = std::chrono::seconds(2);

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
    Instant last;              // packet of either direction
    bool fresh = true;         // `last` is of before a pause, or there was none
    int packets = 0;           // up to kPacketsMin
    Duration balance{0};       // > 0: we begin
    Duration longest{0};       // silence; forgotten slowly
    Instant beat_at = kNever;  // of ours, since no answer came
    bool unanswered = true;    // our last beat that it is known of
  };
  static Role RoleOf(const Pair& pair, Instant now);
  static Duration SilentAfter(const Pair& pair);

  absl::flat_hash_map<IpAddress, Pair> pairs_;
  Instant paused_at_ = kNever;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_BEATS_H_
