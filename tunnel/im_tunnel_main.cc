// im-tunnel: a WireGuard interface in userspace (or the kernel's, where it has
// one), with the command line of other userspace implementations
// (https://www.wireguard.com/xplatform/).
//
// It ends when it gets SIGTERM or SIGINT, when the interface is removed, and
// when the socket file of wg(8) is.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "base/netlink.h"
#include "base/random.h"
#include "base/status.h"
#include "base/tun_device.h"
#include "tunnel/driver.h"
#include "tunnel/im_tunnel_options.h"
#include "tunnel/kernel_device.h"
#include "tunnel/link_monitor.h"
#include "tunnel/tun_port.h"
#include "tunnel/uapi_server.h"

namespace im::tunnel {
namespace {

using Backend = ImTunnelOptions::Backend;

constexpr int kMtuBytes = 1420;

// What must be had before the process may call itself started.
struct Descriptors {
  std::optional<TunDevice> tun;
  FileDescriptor uapi;
  std::string uapi_path;  // empty: somebody else's socket
};

absl::StatusOr<Descriptors> OpenDescriptors(const ImTunnelOptions& options) {
  Descriptors out;
  const TunDevice::Options tun_options = {.name = options.interface_name};
  if (options.tun_fd) {
    IM_ASSIGN_OR_RETURN(out.tun, TunDevice::Adopt(FileDescriptor(*options.tun_fd), tun_options));
  } else {
    IM_ASSIGN_OR_RETURN(out.tun, TunDevice::Create(tun_options));
    IM_RETURN_IF_ERROR(SetLinkMtu(out.tun->name(), kMtuBytes));
  }
  if (options.uapi_fd) {
    out.uapi = FileDescriptor(*options.uapi_fd);
  } else {
    out.uapi_path = UapiSocketPath(out.tun->name());
    IM_ASSIGN_OR_RETURN(out.uapi, ListenUapi(out.uapi_path));
  }
  return out;
}

// Blocks the signals that end us and reads them as a descriptor.
absl::StatusOr<FileDescriptor> CatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  FileDescriptor fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus("signalfd");
  return fd;
}

absl::Status RunUserspace(Descriptors descriptors, const FileDescriptor& signals,
                          const std::function<void()>& ready) {
  RealClock clock;
  SecureRandom random;
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create(clock));
  const std::string name = descriptors.tun->name();
  TunPort port(*std::move(descriptors.tun), *loop);

  Driver::Options driver_options;
  driver_options.device.mtu = kMtuBytes;
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<Driver> driver,
                      Driver::Create(GeneratePrivateKey(random), driver_options, *loop, random,
                                     port, nullptr));
  // Without an identity until wg(8) gives one.
  driver->device().SetPrivateKey(PrivateKey());

  const auto stop = [&](const std::string& why) {
    IM_LOG(kInfo, name, " ends: ", why);
    loop->Stop();
  };
  port.Start(*driver, [&](const absl::Status& status) { stop(std::string(status.message())); });
  driver->SetBlockedCallback([&](bool blocked) { port.Pause(blocked); });
  IM_ASSIGN_OR_RETURN(
      const std::unique_ptr<LinkMonitor> monitor,
      LinkMonitor::Create(
          name, *loop,
          {.on_mtu =
               [&](int mtu_bytes) {
                 driver->Change([&](Device& device, Instant, Outbox&) { device.SetMtu(mtu_bytes); });
               },
           .on_removed = [&] { stop("the interface was removed"); }}));
  IM_ASSIGN_OR_RETURN(
      const std::unique_ptr<UapiServer> server,
      UapiServer::Create(
          std::move(descriptors.uapi), descriptors.uapi_path, *loop,
          [&](absl::string_view request) { return AnswerUapi(request, *driver); },
          [&] { stop("its socket was removed"); }));
  const EventLoop::Watch signal_watch =
      loop->WatchFd(signals.get(), EPOLLIN, [&](uint32_t) { stop("signal"); });
  ready();
  IM_LOG(kInfo, name, " is ready, UDP port ", driver->local_endpoint().port,
         port.device().offload() ? "" : ", without segmentation offload");
  loop->Run();
  return absl::OkStatus();
}

absl::Status RunKernel(KernelDevice device, const FileDescriptor& signals,
                       const std::function<void()>& ready) {
  RealClock clock;
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create(clock));
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<LinkMonitor> monitor,
                      LinkMonitor::Create(device.name(), *loop,
                                          {.on_removed = [&] { loop->Stop(); }}));
  const EventLoop::Watch signal_watch =
      loop->WatchFd(signals.get(), EPOLLIN, [&](uint32_t) { loop->Stop(); });
  ready();
  loop->Run();
  return device.Remove();
}

// The parent leaves when the child is ready, with its outcome. Returns in the
// child, with the descriptor to report on.
FileDescriptor Daemonize(bool keep_stderr) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return FileDescriptor();
  FileDescriptor reader(ends[0]), writer(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return FileDescriptor();
  if (pid > 0) {
    writer.Reset();
    char byte;
    ssize_t size;
    do {
      size = read(reader.get(), &byte, 1);
    } while (size < 0 && errno == EINTR);
    _exit(size == 1 ? 0 : 1);
  }
  setsid();
  static_cast<void>(chdir("/"));
  FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  if (!keep_stderr) dup2(null.get(), STDERR_FILENO);
  return writer;
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
  Descriptors descriptors;
  if (!kernel) {
    IM_ASSIGN_OR_RETURN(descriptors, OpenDescriptors(options));
  }
  FileDescriptor report;
  if (!options.foreground) {
    report = Daemonize(options.log_level != LogLevel::kSilent);
    if (!report.valid()) return ErrnoStatus("daemonize");
  }
  const auto ready = [&] {
    if (!report.valid()) return;
    static_cast<void>(!write(report.get(), "1", 1));
    report.Reset();
  };
  IM_ASSIGN_OR_RETURN(const FileDescriptor signals, CatchSignals());
  const absl::Status status = kernel ? RunKernel(*std::move(kernel), signals, ready)
                                     : RunUserspace(std::move(descriptors), signals, ready);
  return status;
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
  if (const absl::Status status = Run(*options); !status.ok()) {
    std::fprintf(stderr, "im-tunnel: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace im::tunnel

int main(int argc, char** argv) { return im::tunnel::Main({argv + 1, argv + argc}); }
