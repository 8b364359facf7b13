// RunBuilder: lays datagrams of one peer back to back, so that the kernel can
// send a run of them at once.
//
// A datagram ends the run before it when
//   [1] its ECN mark differs,
//   [2] it is longer than the run's first one,
//   [3] the run's last one was shorter than its first,
//   [4] the run has kGsoSegmentsMax datagrams, or
//   [5] the run would grow past kGsoBytesMax or its memory.

#ifndef IM_TUNNEL_RUN_BUILDER_H_
#define IM_TUNNEL_RUN_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ip_address.h"
#include "tunnel/outbox.h"

namespace im::tunnel {

class RunBuilder {
 public:
  // `expected_bytes` in all; memory is taken accordingly. Nobody else may
  // allocate from `batch` before Close.
  RunBuilder(DatagramBatch& batch, const Endpoint& peer, const IpAddress& local,
             size_t expected_bytes)
      : batch_(batch), peer_(peer), local_(local), expected_(expected_bytes) {}
  RunBuilder(const RunBuilder&) = delete;
  RunBuilder& operator=(const RunBuilder&) = delete;

  // Room for the next datagram. Preconditions: size <= kGsoBytesMax.
  std::span<uint8_t> Next(size_t size, uint8_t ecn);
  // Ends the last run. Call it once, at the end.
  void Close();

  size_t bytes() const { return total_; }  // of all datagrams

 private:
  bool EndsRun(size_t size, uint8_t ecn) const;

  DatagramBatch& batch_;
  const Endpoint peer_;
  const IpAddress local_;
  size_t expected_;
  size_t total_ = 0;
  // The open run.
  std::span<uint8_t> memory_;
  size_t used_ = 0;
  size_t count_ = 0;
  size_t segment_size_ = 0;
  size_t last_size_ = 0;
  uint8_t ecn_ = 0;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_RUN_BUILDER_H_
