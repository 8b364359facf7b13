#include "orchestrator/imd.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/cluster_metrics.h"
#include "orchestrator/host_setup.h"
#include "orchestrator/providers/process_provider.h"

namespace im::orchestrator {
namespace {

// Instances of the process provider are on this machine.
const IpAddress kTunnelAddress = IpAddress::V4(0x7f000001);

std::string PortName(const ClusterSpec& spec, const HostSpec& host, const PublishedPort& port) {
  return absl::StrCat(spec.path, ":", port.at.line, ":", port.at.column, ": ports of ", host.name,
                      ": ", port.listen.ToString());
}

}  // namespace

Imd::Imd(Options options, EventLoop& loop, Random& random)
    : options_(std::move(options)),
      loop_(loop),
      random_(random),
      store_(options_.state_dir.state_file()) {}

Imd::~Imd() {
  // What comes in while the parts go finds nobody.
  inside_.SetGateway(nullptr);
  metrics_.reset();
  server_.reset();
  api_.reset();
  ports_.clear();
  if (controller_ != nullptr) controller_->gateway().SetStack(nullptr);
  stack_.reset();
  provider_.reset();
}

absl::StatusOr<std::unique_ptr<Imd>> Imd::Start(Options options, EventLoop& loop,
                                                Random& random) {
  std::unique_ptr<Imd> imd(new Imd(std::move(options), loop, random));
  IM_RETURN_IF_ERROR(imd->Init());
  return imd;
}

absl::Status Imd::Init() {
  const ClusterSpec& spec = options_.spec;
  IM_ASSIGN_OR_RETURN(const std::optional<proto::SavedState> saved, store_.Load());
  IM_RETURN_IF_ERROR(AddHosts(spec, loop_.now(), hosts_));
  IM_RETURN_IF_ERROR(OpenTunnel(saved));

  Controller::Options options;
  options.state_dir = options_.state_dir.path();
  options.gateway_key = driver_->device().public_key();
  options.gateway_endpoint = {kTunnelAddress, driver_->local_endpoint().port};
  options.life = options_.state_dir.life();
  options.first_incarnation =
      FirstIncarnation(saved.value_or(proto::SavedState()), options.life);
  options.available_memory = ReadMemAvailable;
  options.criu = options_.criu;
  options.checkpoints_directory = spec.checkpoints_directory;
  options.limits.starting_max = spec.limits.max_starting;
  controller_ = std::make_unique<Controller>(options, spec, hosts_, loop_, random_, *edge_);
  provider_ = std::make_unique<ProcessProvider>(loop_, options_.agent_path, *controller_);
  controller_->SetProvider(provider_.get());
  controller_->SetSave([this](const proto::SavedState& state) { Save(state); });
  IM_RETURN_IF_ERROR(OpenStack());
  IM_RETURN_IF_ERROR(OpenPublishedPorts());
  IM_RETURN_IF_ERROR(OpenMetrics());
  api_ = std::make_unique<ClusterApi>(*controller_);
  api_->SetOnDown([this] { options_.on_down(); });
  const ApiServer::Options api{.socket_path = options_.state_dir.api_socket(),
                               .owner = options_.api_owner};
  IM_ASSIGN_OR_RETURN(server_, ApiServer::Start(api, loop_, *api_));
  // From here on nothing fails.
  inside_.SetGateway(&controller_->gateway());
  controller_->Restore(saved);
  // First of all on disk: incarnations that will not be used again.
  controller_->Save();
  controller_->Begin();
  return absl::OkStatus();
}

absl::Status Imd::OpenTunnel(const std::optional<proto::SavedState>& saved) {
  tunnel::Driver::Options options;
  options.listen = {kTunnelAddress, 0};
  options.device.mtu = kInnerMtu;
  if (saved) {
    const auto key = tunnel::PrivateKey::FromBytes(saved->gateway_private_key());
    if (!key || saved->gateway_port() == 0 || saved->gateway_port() > 65535) {
      return absl::DataLossError(absl::StrCat(store_.path(), " lacks the gateway's key or port"));
    }
    key_ = *key;
    options.listen.port = static_cast<uint16_t>(saved->gateway_port());
  } else {
    key_ = tunnel::GeneratePrivateKey(random_);
  }
  auto driver =
      tunnel::Driver::Create(key_, options, loop_, random_, inside_, /*delegate=*/nullptr);
  // Instances that live know this port alone; if there are none, any will do.
  if (!driver.ok() && saved && saved->instances().empty()) {
    options.listen.port = 0;
    driver = tunnel::Driver::Create(key_, options, loop_, random_, inside_, nullptr);
  }
  if (!driver.ok()) {
    return Annotate(driver.status(), absl::StrCat("gateway's UDP port ", options.listen.ToString()));
  }
  driver_ = *std::move(driver);
  edge_.emplace(*driver_);
  return absl::OkStatus();
}

absl::Status Imd::OpenStack() {
  const ClusterSpec& spec = options_.spec;
  stack_ = std::make_unique<netstack::Stack>(loop_);
  IM_ASSIGN_OR_RETURN(netstack::Interface* const nic,
                      stack_->AddInterface({.name = "gateway",
                                            .address = spec.gateway,
                                            .prefix_length = spec.network.length(),
                                            .mtu = kInnerMtu},
                                           controller_->gateway().from_stack()));
  controller_->gateway().SetStack(nic);
  return absl::OkStatus();
}

absl::Status Imd::OpenPublishedPorts() {
  const ClusterSpec& spec = options_.spec;
  HostId next = 0;
  for (const HostSpec& host : spec.hosts) {
    const HostId id = next++;
    for (const PublishedPort& port : host.ports) {
      const std::string listen = port.listen.ToString();
      auto opened = PortPublisher::Open(
          loop_, *stack_, port.listen, {host.address, port.target},
          [this, id, listen](const Endpoint& client) {
            controller_->OnPublishedClient(
                id, absl::StrCat(listen, " from ", client.ToString()));
          },
          [](const absl::Status& status) { IM_LOG(kInfo, std::string(status.message())); });
      if (!opened.ok()) return Annotate(opened.status(), PortName(spec, host, port));
      ports_.push_back(*std::move(opened));
    }
  }
  return absl::OkStatus();
}

absl::Status Imd::OpenMetrics() {
  metrics_ = std::make_unique<MetricsServer>(loop_, [this] { return Metrics(); });
  IM_RETURN_IF_ERROR(metrics_->ListenUnix(options_.state_dir.path(), kMetricsSocketName,
                                          options_.api_owner));
  if (!options_.metrics) return absl::OkStatus();
  IM_ASSIGN_OR_RETURN(const Endpoint bound, metrics_->ListenTcp(*options_.metrics));
  IM_LOG(kInfo, "metrics at http://", bound.ToString(), kMetricsPath);
  return absl::OkStatus();
}

std::string Imd::Metrics() const {
  EdgeFigures edge;
  edge.tunnel_drops = driver_->Drops();
  edge.tunnel_rx_bytes = driver_->rx_bytes();
  edge.tunnel_tx_bytes = driver_->tx_bytes();
  for (const auto& port : ports_) edge.published_connections += port->connections();
  edge.api_calls = server_ == nullptr ? 0 : server_->open_calls();
  return ClusterMetrics(*controller_, edge, loop_.now());
}

void Imd::Save(proto::SavedState state) {
  state.set_format(kStateFormat);
  state.set_cluster(options_.spec.name);
  state.set_gateway_private_key(std::string(key_.raw()));
  state.set_gateway_port(driver_->local_endpoint().port);
  state.set_spec_path(options_.spec.path);
  const absl::Status status = store_.Save(state);
  if (!status.ok() && !save_failed_) {
    IM_LOG(kError, "state is not saved, a restarted imd will not find what runs: ",
           std::string(status.message()));
  }
  save_failed_ = !status.ok();
}

void Imd::Down(absl::string_view reason, bool force) {
  IM_LOG(kInfo, "going down: ", reason);
  api_->Down(force, [](const absl::Status&) {});
}

}  // namespace im::orchestrator
