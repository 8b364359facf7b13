#include "orchestrator/imd.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/host_setup.h"

namespace im::orchestrator {

absl::StatusOr<std::unique_ptr<Imd>> Imd::Start(ClusterSpec spec, StateDir dir) {
  std::unique_ptr<Imd> imd(new Imd(std::move(spec), std::move(dir)));
  IM_RETURN_IF_ERROR(imd->Init());
  return imd;
}

Imd::Imd(ClusterSpec spec, StateDir dir)
    : spec_(std::move(spec)), dir_(std::move(dir)), store_(dir_.state_file()) {}

Imd::~Imd() {
  // What the tunnel still holds goes nowhere any more.
  inside_.gateway = nullptr;
  server_.reset();
}

absl::Status Imd::Init() {
  IM_ASSIGN_OR_RETURN(loop_, EventLoop::Create(clock_));
  IM_ASSIGN_OR_RETURN(const std::optional<proto::SavedState> saved, store_.Load());
  IM_RETURN_IF_ERROR(AddHosts(spec_, clock_.Now(), hosts_));
  IM_RETURN_IF_ERROR(OpenTunnel(saved.has_value() ? &*saved : nullptr));

  Controller::Options options;
  options.state_dir = dir_.path();
  options.gateway_key = driver_->device().public_key();
  options.gateway_endpoint = driver_->local_endpoint();
  if (saved.has_value()) options.first_incarnation = saved->next_incarnation() + kIncarnationGap;
  options.limits.starting_max = spec_.limits.max_starting;
  edge_ = std::make_unique<DriverEdge>(*driver_);
  controller_ = std::make_unique<Controller>(options, spec_, hosts_, *loop_, random_, *edge_);
  provider_ = std::make_unique<ProcessProvider>(*loop_, DefaultAgentPath(), *controller_);
  controller_->SetProvider(provider_.get());
  controller_->SetSave([this](const proto::SavedState& state) {
    proto::SavedState complete = state;
    complete.set_format(kStateFormat);
    complete.set_cluster(spec_.name);
    complete.set_spec_path(spec_.path);
    complete.set_gateway_private_key(std::string(driver_->device().private_key().raw()));
    complete.set_gateway_port(driver_->local_endpoint().port);
    if (absl::Status status = store_.Save(complete); !status.ok()) {
      IM_LOG(kError, "the state is not saved: ", status.message());
    }
  });
  inside_.gateway = &controller_->gateway();
  IM_RETURN_IF_ERROR(OpenStack());
  IM_RETURN_IF_ERROR(OpenPorts());

  api_ = std::make_unique<ClusterApi>(*controller_);
  api_->SetOnDown([this] {
    if (absl::Status status = store_.Remove(); !status.ok()) {
      IM_LOG(kWarning, status.message());
    }
    // In a later turn: whoever asked for it is answered first.
    loop_->Post([this] {
      server_->Shutdown();
      loop_->Stop();
    });
  });
  IM_ASSIGN_OR_RETURN(server_, ApiServer::Start({.socket_path = dir_.api_socket()}, *loop_, *api_));
  if (saved.has_value()) controller_->Restore(*saved);
  controller_->Begin();
  // The key and the port must be on disk before the first agent has them.
  controller_->Save();
  return absl::OkStatus();
}

absl::Status Imd::OpenTunnel(const proto::SavedState* saved) {
  tunnel::PrivateKey key = tunnel::GeneratePrivateKey(random_);
  tunnel::Driver::Options options;
  options.device.mtu = static_cast<int>(kInnerMtu);
  options.listen = {IpAddress::V4(0x7f000001), 0};
  if (saved != nullptr) {
    const auto saved_key = tunnel::PrivateKey::FromBytes(saved->gateway_private_key());
    if (!saved_key.has_value()) {
      return absl::DataLossError(
          absl::StrCat(store_.path(), ": holds no gateway key; remove the file to start anew"));
    }
    key = *saved_key;
    options.listen.port = static_cast<uint16_t>(saved->gateway_port());
  }
  auto driver = tunnel::Driver::Create(key, options, *loop_, random_, inside_, nullptr);
  if (!driver.ok()) return Annotate(driver.status(), "the gateway's UDP socket");
  driver_ = *std::move(driver);
  return absl::OkStatus();
}

absl::Status Imd::OpenStack() {
  stack_ = std::make_unique<netstack::Stack>(*loop_);
  IM_ASSIGN_OR_RETURN(netstack::Interface* const nic,
                      stack_->AddInterface({.name = "gw",
                                            .address = spec_.gateway,
                                            .prefix_length = spec_.network.length(),
                                            .mtu = static_cast<int>(kInnerMtu)},
                                           controller_->gateway().from_stack()));
  controller_->gateway().SetStack(nic);
  return absl::OkStatus();
}

absl::Status Imd::OpenPorts() {
  for (HostId id = 0; id < spec_.hosts.size(); ++id) {
    const HostSpec& host = spec_.hosts[id];
    for (const PublishedPort& port : host.ports) {
      auto publisher = PortPublisher::Open(
          *loop_, *stack_, port.listen, {host.address, port.target},
          [this, id, listen = port.listen](const Endpoint& client) {
            controller_->OnPublishedClient(
                id, absl::StrCat(listen.ToString(), " from ", client.ToString()));
          },
          [name = host.name](const absl::Status& status) {
            IM_LOG(kInfo, "published port of ", name, ": ", status.message());
          });
      if (!publisher.ok()) {
        return Annotate(publisher.status(), absl::StrCat("hosts.", host.name, ".ports"));
      }
      ports_.push_back(*std::move(publisher));
    }
  }
  return absl::OkStatus();
}

void Imd::Down(bool force) {
  api_->Down(force, [](const absl::Status&) {});
}

}  // namespace im::orchestrator
