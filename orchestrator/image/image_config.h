// What an image says about itself: its name here, and how its program is run.
//
// [OCI] OCI Image Format Specification 1.1: config.md.

#ifndef IM_ORCHESTRATOR_IMAGE_IMAGE_CONFIG_H_
#define IM_ORCHESTRATOR_IMAGE_IMAGE_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace im::orchestrator {

// Longest JSON document of an image that is read, in bytes (registries take 4 MiB).
inline constexpr size_t kImageJsonBytesMax = 4 << 20;

struct ImageConfig {
  std::vector<std::string> environment;  // "NAME=value"
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;      // Cmd
  std::string working_dir;               // empty: /
  std::string user;                      // empty: root
  std::string stop_signal;               // empty: SIGTERM
  std::vector<std::string> exposed_ports;  // "6379/tcp": what the image's author says; all are open
  std::string architecture;              // as Go says it: "amd64"; empty: not said

  // A document that ParseImageConfig reads.
  std::string ToJson() const;

  friend bool operator==(const ImageConfig&, const ImageConfig&) = default;
};

// [OCI] config.md. What is of another type than it says there is an error; unknown fields
// are left alone.
absl::StatusOr<ImageConfig> ParseImageConfig(absl::string_view json);

// "redis" → "redis:latest", "docker.io/library/redis:7" → "redis:7". InvalidArgument: it is no
// name of an image, or names it by a digest.
absl::StatusOr<std::string> CanonicalImageName(absl::string_view name);

// This machine's, in Go's words: "amd64", "arm64".
std::string MachineArchitecture();

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMAGE_IMAGE_CONFIG_H_
