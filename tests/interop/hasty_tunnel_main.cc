// im-tunnel in the foreground, with protocol times divided and few messages to
// a session, so that a test sees hours' worth of renewals:
// hasty-tunnel INTERFACE TIME_DIVISOR REKEY_AFTER_MESSAGES.

#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "tunnel/im_tunnel_interface.h"

namespace im::tunnel {
namespace {

absl::Status Run(const std::string& name, const Device::Options& device_options) {
  ImTunnelOptions options;
  options.interface_name = name;
  IM_ASSIGN_OR_RETURN(ImTunnelInterface::Descriptors descriptors,
                      ImTunnelInterface::Open(options));
  RealClock clock;
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create(clock));
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<ImTunnelInterface> interface,
                      ImTunnelInterface::Create(std::move(descriptors), device_options, *loop,
                                                [&](const std::string&) { loop->Stop(); }));
  loop->Run();
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: hasty-tunnel INTERFACE TIME_DIVISOR REKEY_AFTER_MESSAGES\n");
    return 2;
  }
  InitLog("hasty-tunnel", LogLevel::kDebug);
  Device::Options options;
  options.time_divisor = std::atoi(argv[2]);
  options.rekey_after_messages = std::strtoull(argv[3], nullptr, 10);
  if (options.time_divisor < 1 || options.rekey_after_messages < 1) return 2;
  const absl::Status status = Run(argv[1], options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "hasty-tunnel: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace im::tunnel

int main(int argc, char** argv) { return im::tunnel::Main(argc, argv); }
