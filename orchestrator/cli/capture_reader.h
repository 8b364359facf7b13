// CaptureReader: what an agent's capture.sock says (agent/capture_server.h):
// cuts the stream into whole records, so that a file ends with one, however
// the capture ends.

#ifndef IM_ORCHESTRATOR_CLI_CAPTURE_READER_H_
#define IM_ORCHESTRATOR_CLI_CAPTURE_READER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace im::orchestrator::cli {

class CaptureReader {
 public:
  // At most `packets_max` packets are given out; 0: all.
  explicit CaptureReader(uint64_t packets_max) : packets_max_(packets_max) {}

  // Bytes that came; returns those that are to be written: the file's header
  // and whole records.
  std::string Feed(absl::string_view bytes);

  uint64_t packets() const { return packets_; }  // given out
  bool full() const { return packets_max_ > 0 && packets_ >= packets_max_; }
  // Packets that were not copied for us; nullopt: the trailer has not come.
  std::optional<uint64_t> lost() const { return lost_; }

 private:
  const uint64_t packets_max_;
  std::string pending_;
  bool header_seen_ = false;
  uint64_t packets_ = 0;
  std::optional<uint64_t> lost_;
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_CAPTURE_READER_H_
