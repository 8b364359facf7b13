// UdpOffload: do UDP_SEGMENT and UDP_GRO of this kernel do what they promise?
//
// Some kernels do not: Linux 7.0 to 7.1.4 mangle trains of equal datagrams, and
// UDP_GRO is not to be relied upon before 5.12. So two trains, one of equal
// datagrams and one with a short end, go through a pair of sockets on the
// loopback interface, with and without UDP_GRO, and every datagram must arrive
// as it was. It takes a tenth of a millisecond, once for the process, when the
// first train is to be sent or has come: a quiet instance never does it.
//
// Where the test cannot be made (no loopback in this network namespace) the
// kernel is believed. What a path does is another thing: the errors that it
// gives are dealt with at run time (gso_batch_writer.h).

#ifndef IM_TUNNEL_UDP_OFFLOAD_H_
#define IM_TUNNEL_UDP_OFFLOAD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tunnel/tuning.h"

namespace im::tunnel {

struct UdpOffload {
  bool gso = true;
  bool gro = true;

  // The self-test.
  static UdpOffload Probe();
  // What is to be used: the switches' word, and `probe`'s where they leave it
  // open.
  static UdpOffload Choose(const Tuning& tuning, const std::function<UdpOffload()>& probe);
  // By Tuning::ByEnvironment(); tested at the first call.
  static const UdpOffload& OfProcess();
  // Whether UDP_GRO may be asked for at all, without a test: not if it is
  // switched off, or the kernel is too old.
  static bool GroIsThinkable(const Tuning& tuning);
  // `release`: of the kernel, as uname(2) says it.
  static bool GroIsThinkable(const Tuning& tuning, const char* release);
};

// The datagrams of one train: what is sent, and whether the same arrives.
class TrainCheck {
 public:
  // `count` datagrams of `size` bytes, the last of `last_size`.
  TrainCheck(size_t count, size_t size, size_t last_size);

  const std::vector<uint8_t>& train() const { return train_; }
  // A message came: datagrams of `segment_size` bytes (0: it is one datagram),
  // the last of which may be shorter. False if that is not what was sent.
  bool Take(std::span<const uint8_t> message, size_t segment_size);
  bool complete() const { return taken_ == train_.size(); }

 private:
  const size_t size_;
  std::vector<uint8_t> train_;
  size_t taken_ = 0;  // bytes
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_UDP_OFFLOAD_H_
