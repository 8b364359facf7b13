// im-tunnel: a WireGuard interface in userspace (or the kernel's, where it has
// one), with the command line of other userspace implementations
// (https://www.wireguard.com/xplatform/).
//
// It ends when it gets SIGTERM or SIGINT, when the interface is removed, and
// when the socket file of wg(8) is.

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "base/status.h"
#include "tunnel/constants.h"
#include "tunnel/im_tunnel_daemon.h"
#include "tunnel/im_tunnel_interface.h"
#include "tunnel/im_tunnel_options.h"
#include "tunnel/kernel_device.h"
#include "tunnel/link_monitor.h"
#include "tunnel/uapi.h"
#include "tunnel/uapi_client.h"
#include "tunnel/uapi_server.h"

namespace im::tunnel {
namespace {

using Backend = ImTunnelOptions::Backend;

// Blocks the signals that we understand and reads them as a descriptor.
absl::StatusOr<FileDescriptor> CatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a log that nobody reads any more
  FileDescriptor fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus("signalfd");
  return fd;
}

// What Run* tell once when they are ready: the daemon's parent, if there is one.
using Ready = std::function<void()>;

absl::Status RunUserspace(ImTunnelInterface::Descriptors descriptors,
                          const FileDescriptor& signals, const Ready& ready) {
  BootClock clock;
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create(clock));
  loop->SetBusyPoll(kBusyPollWindow);
  const bool offload = descriptors.tun.offload();
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<ImTunnelInterface> interface,
                      ImTunnelInterface::Create(std::move(descriptors), Device::Options(), *loop,
                                                [&](const std::string& why) {
                                                  IM_LOG(kInfo, "ends: ", why);
                                                  loop->Stop();
                                                }));
  const EventLoop::Watch signal_watch = loop->WatchFd(signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info;
    while (read(signals.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo == SIGUSR1) {
        interface->LogDrops();
      } else if (info.ssi_signo == SIGUSR2) {
        interface->RenewSessions("SIGUSR2");
      } else {
        IM_LOG(kInfo, "ends: signal ", info.ssi_signo);
        loop->Stop();
      }
    }
  });
  ready();
  IM_LOG(kInfo, interface->name(), " is ready",
         offload ? "" : ", without segmentation offload");
  loop->Run();
  return absl::OkStatus();
}

absl::Status RunKernel(KernelDevice device, const FileDescriptor& signals,
                       const Ready& ready) {
  BootClock clock;
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create(clock));
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<LinkMonitor> monitor,
                      LinkMonitor::Create(device.name(), *loop,
                                          {.on_state = nullptr, .on_removed = [&] { loop->Stop(); }}));
  const EventLoop::Watch signal_watch =
      loop->WatchFd(signals.get(), EPOLLIN, [&](uint32_t) {
        signalfd_siginfo info;
        while (read(signals.get(), &info, sizeof(info)) == sizeof(info)) {
          // The kernel counts no reasons, and renews sessions by itself.
          if (info.ssi_signo != SIGUSR1 && info.ssi_signo != SIGUSR2) loop->Stop();
        }
      });
  ready();
  loop->Run();
  return device.Remove();
}

absl::Status Run(const ImTunnelOptions& options) {
  std::optional<KernelDevice> kernel;
  if (options.backend != Backend::kUserspace) {
    absl::StatusOr<KernelDevice> device = KernelDevice::Create(options.interface_name);
    if (device.ok()) {
      if (!options.foreground) return absl::OkStatus();  // it needs no process
      kernel = *std::move(device);
    } else if (options.backend == Backend::kKernel || !absl::IsUnimplemented(device.status())) {
      return device.status();
    } else {
      IM_LOG(kInfo, device.status().message(), "; userspace is used");
    }
  }
  std::optional<ImTunnelInterface::Descriptors> descriptors;
  if (!kernel) {
    IM_ASSIGN_OR_RETURN(descriptors, ImTunnelInterface::Open(options));
  }
  std::optional<ImTunnelDaemon> daemon;
  if (!options.foreground) {
    IM_ASSIGN_OR_RETURN(daemon, ImTunnelDaemon::Enter(options.log_level_set &&
                                                      options.log_level != LogLevel::kSilent));
  }
  const auto report = [&](const absl::Status& status) {
    if (daemon) daemon->Report(status);
  };
  const Ready ready = [&] { report(absl::OkStatus()); };
  const absl::StatusOr<FileDescriptor> signals = CatchSignals();
  absl::Status status = signals.status();
  if (signals.ok()) {
    status = kernel ? RunKernel(*std::move(kernel), *signals, ready)
                    : RunUserspace(*std::move(descriptors), *signals, ready);
  }
  report(status);  // nothing, if it was ready once
  return status;
}

absl::Status PrintDrops(const std::string& interface_name) {
  IM_ASSIGN_OR_RETURN(const std::string answer,
                      AskUapi(UapiSocketPath(interface_name), kUapiGetDrops));
  std::fputs(answer.c_str(), stdout);
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<ImTunnelOptions> options = ParseImTunnelOptions(
      arguments, [](const char* name) -> const char* { return std::getenv(name); });
  if (!options.ok()) {
    std::fprintf(stderr, "im-tunnel: %s\n\n%s", std::string(options.status().message()).c_str(),
                 kImTunnelUsage);
    return 2;
  }
  if (options->action == ImTunnelOptions::Action::kHelp) {
    std::fputs(kImTunnelUsage, stdout);
    return 0;
  }
  if (options->action == ImTunnelOptions::Action::kVersion) {
    std::printf("im-tunnel %s\n", IM_VERSION);
    return 0;
  }
  InitLog(absl::StrCat("im-tunnel(", options->interface_name, ")"), options->log_level);
  const bool drops = options->action == ImTunnelOptions::Action::kDrops;
  const absl::Status status = drops ? PrintDrops(options->interface_name) : Run(*options);
  if (!status.ok()) {
    std::fprintf(stderr, "im-tunnel: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace im::tunnel

int main(int argc, char** argv) { return im::tunnel::Main({argv + 1, argv + argc}); }
