#include "tunnel/run_builder.h"

#include <algorithm>

#include "base/check.h"

namespace im::tunnel {

bool RunBuilder::EndsRun(size_t size, uint8_t ecn) const {
  return ecn != ecn_ ||                    // [1]
         size > segment_size_ ||           // [2]
         last_size_ < segment_size_ ||     // [3]
         count_ == kGsoSegmentsMax ||      // [4]
         used_ + size > memory_.size();    // [5]
}

std::span<uint8_t> RunBuilder::Next(size_t size, uint8_t ecn) {
  IM_CHECK(size <= kGsoBytesMax);
  if (count_ != 0 && EndsRun(size, ecn)) Close();
  if (count_ == 0) {
    const size_t rest = expected_ > total_ ? expected_ - total_ : 0;
    memory_ = batch_.Allocate(std::min(std::max(rest, size), kGsoBytesMax));
    segment_size_ = size;
    ecn_ = ecn;
  }
  const std::span<uint8_t> datagram = memory_.subspan(used_, size);
  used_ += size;
  total_ += size;
  last_size_ = size;
  ++count_;
  return datagram;
}

void RunBuilder::Close() {
  if (count_ == 0) return;
  batch_.ShrinkLast(used_);
  DatagramRun run;
  run.peer = peer_;
  run.local = local_;
  run.ecn = ecn_;
  run.segment_size = static_cast<uint32_t>(segment_size_);
  run.bytes = memory_.first(used_);
  batch_.Add(run);
  memory_ = {};
  used_ = count_ = segment_size_ = last_size_ = 0;
}

}  // namespace im::tunnel
