#include "tunnel/im_tunnel_interface.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/netlink.h"
#include "tunnel/uapi.h"

namespace im::tunnel {
namespace {

constexpr int kMtuBytes = 1420;
// How often a device in another network namespace is looked at.
constexpr Duration kPollTime = std::chrono::seconds(1);

// What the kernel's errno does not tell a person.
absl::Status Explain(const absl::Status& status, const std::string& name) {
  if (absl::IsPermissionDenied(status)) {
    return Annotate(status, "root is needed (CAP_NET_ADMIN)");
  }
  if (LinkIndex(name).ok()) {
    return Annotate(status, absl::StrCat("there is a network interface ", name, " already"));
  }
  if (access("/dev/net/tun", F_OK) != 0) {
    return Annotate(status, "this system has no TUN devices (modprobe tun)");
  }
  return status;
}

}  // namespace

absl::StatusOr<ImTunnelInterface::Descriptors> ImTunnelInterface::Open(
    const ImTunnelOptions& options) {
  const TunDevice::Options tun_options = {.name = options.interface_name};
  absl::StatusOr<TunDevice> tun =
      options.tun_fd ? TunDevice::Adopt(FileDescriptor(*options.tun_fd), tun_options)
                     : TunDevice::Create(tun_options);
  if (!tun.ok()) {
    if (options.tun_fd) return Annotate(tun.status(), absl::StrCat("WG_TUN_FD=", *options.tun_fd));
    return Explain(tun.status(), options.interface_name);
  }
  // Others' devices keep what they have.
  if (!options.tun_fd) IM_RETURN_IF_ERROR(SetLinkMtu(tun->name(), kMtuBytes));
  if (options.uapi_fd) {
    return Descriptors{*std::move(tun), FileDescriptor(*options.uapi_fd), ""};
  }
  std::string path = UapiSocketPath(tun->name());
  IM_ASSIGN_OR_RETURN(FileDescriptor uapi, ListenUapi(path));
  return Descriptors{*std::move(tun), std::move(uapi), std::move(path)};
}

absl::StatusOr<std::unique_ptr<ImTunnelInterface>> ImTunnelInterface::Create(
    Descriptors descriptors, const Device::Options& device_options, EventLoop& loop,
    std::function<void(const std::string&)> on_end) {
  std::unique_ptr<ImTunnelInterface> interface(
      new ImTunnelInterface(std::move(descriptors.tun), loop, std::move(on_end)));
  IM_RETURN_IF_ERROR(interface->Start(std::move(descriptors), device_options));
  return interface;
}

ImTunnelInterface::ImTunnelInterface(TunDevice tun, EventLoop& loop,
                                     std::function<void(const std::string&)> on_end)
    : name_(tun.name()), loop_(loop), on_end_(std::move(on_end)), port_(std::move(tun), loop) {}

absl::Status ImTunnelInterface::Start(Descriptors descriptors,
                                      const Device::Options& device_options) {
  Driver::Options options;
  options.device = device_options;
  IM_ASSIGN_OR_RETURN(driver_, Driver::Create(GeneratePrivateKey(random_), options, loop_, random_,
                                              port_, nullptr));
  // Without an identity until wg(8) gives one, and without a port until the
  // link is up.
  driver_->device().SetPrivateKey(PrivateKey());
  IM_RETURN_IF_ERROR(driver_->SetUp(false));
  IM_RETURN_IF_ERROR(driver_->Rebind(Endpoint()));
  driver_->SetBlockedCallback([this](bool blocked) { port_.Pause(blocked); });
  port_.Start(*this, [this](const absl::Status& status) {
    on_end_(std::string(status.message()));
  });
  IM_ASSIGN_OR_RETURN(monitor_,
                      LinkMonitor::Create(name_, loop_,
                                          {.on_state = [this](const LinkState& state) {
                                             OnLinkState(state);
                                           },
                                           .on_removed = [this] { OnLinkLeft(); }}));
  // One process, so one that listens to uevents, may cost what it costs.
  restore_watch_ = RestoreWatch::Create(loop_, {.uevents = true},
                                        [this](absl::string_view why) { RenewSessions(why); });
  IM_ASSIGN_OR_RETURN(
      server_, UapiServer::Create(
                   std::move(descriptors.uapi), descriptors.uapi_path, loop_,
                   [this](absl::string_view request) { return Answer(request); },
                   [this] { on_end_("its socket was removed"); }));
  return absl::OkStatus();
}

void ImTunnelInterface::Write(PacketBatch batch) {
  // A link that is up may send before we have heard that it is.
  if (!driver_->up()) ReadState();
  driver_->Write(std::move(batch));
}

void ImTunnelInterface::OnLinkState(const LinkState& state) {
  driver_->Change(
      [&](Device& device, Instant, Outbox&) { device.SetMtu(state.mtu_bytes); });
  link_up_ = state.up;
  SetUp(state.up);
}

void ImTunnelInterface::SetUp(bool up) {
  if (up == driver_->up()) return;
  if (const absl::Status status = driver_->SetUp(up); !status.ok()) {
    // wg(8) may give it another port.
    IM_LOG(kError, name_, " is up, but cannot be reached: ", status.message());
    return;
  }
  if (up) {
    IM_LOG(kInfo, name_, " is up, UDP port ", driver_->local_endpoint().port);
  } else {
    IM_LOG(kInfo, name_, " is down");
  }
}

void ImTunnelInterface::OnLinkLeft() {
  const absl::StatusOr<std::string> name = port_.device().CurrentName();
  if (!name.ok()) return on_end_("the interface was removed");
  IM_LOG(kInfo, name_, " moved to another network namespace, as ", *name);
  monitor_.reset();
  Poll();
}

void ImTunnelInterface::ReadState() {
  const absl::StatusOr<std::string> name = port_.device().CurrentName();
  if (!name.ok()) return;  // it has gone: the device tells
  absl::StatusOr<LinkState> state;
  if (monitor_ != nullptr) {
    state = ReadLink(*name);
  } else {
    const absl::StatusOr<FileDescriptor> name_space = port_.device().NetworkNamespace();
    state = name_space.ok() ? ReadLinkIn(*name_space, *name) : name_space.status();
  }
  if (state.ok()) return OnLinkState(*state);
  // It may have moved this very moment; then the next time tells.
  IM_LOG(kInfo, state.status().message());
}

void ImTunnelInterface::Poll() {
  ReadState();
  poll_timer_ = loop_.After(kPollTime, [this] { Poll(); });
}

DropCounters ImTunnelInterface::Drops() const {
  DropCounters all = driver_->Drops();
  all.Add(port_.drops());
  return all;
}

void ImTunnelInterface::LogDrops() const {
  std::string text;
  Drops().ForEach([&](absl::string_view reason, uint64_t count) {
    absl::StrAppend(&text, " ", reason, "=", count);
  });
  IM_LOG(kError, name_, " dropped:", text.empty() ? " nothing" : text);
}

void ImTunnelInterface::RenewSessions(absl::string_view why) {
  IM_LOG(kInfo, name_, " renews its sessions: ", why);
  driver_->OnRestored();
}

std::string ImTunnelInterface::Answer(absl::string_view request) {
  if (request == kUapiGetDrops) return FormatUapiDrops(Drops());
  std::string answer = AnswerUapi(request, *driver_);
  // What kept it down may have been the port.
  if (link_up_) SetUp(true);
  return answer;
}

}  // namespace im::tunnel
