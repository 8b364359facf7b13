#include "orchestrator/imd.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/checked_file.h"
#include "orchestrator/cluster_metrics.h"
#include "orchestrator/host_program.h"
#include "orchestrator/host_setup.h"
#include "orchestrator/image/image_store.h"
#include "orchestrator/providers/process_provider.h"

namespace im::orchestrator {
namespace {

// Where instances of the process provider, which are on this machine, reach a gateway that
// listens on all addresses.
const IpAddress kLoopback = IpAddress::V4(0x7f000001);

// The file of the peers (peers.h, checked_file.h).
constexpr absl::string_view kPeersWord = "IMP1";
constexpr size_t kPeersBytesMax = 1 << 20;

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
  *self_ = nullptr;
  inside_.SetGateway(nullptr);
  metrics_.reset();
  dashboard_.reset();
  feed_.reset();
  server_.reset();
  api_.reset();
  ports_.clear();
  names_.reset();
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
  IM_RETURN_IF_ERROR(LockImages());
  IM_RETURN_IF_ERROR(TakeLayers(/*anew=*/!saved));
  IM_RETURN_IF_ERROR(AddHosts(spec, loop_.now(), hosts_));
  IM_ASSIGN_OR_RETURN(const SavedPeers peers, LoadPeers());
  IM_RETURN_IF_ERROR(OpenTunnel(saved, peers));

  Controller::Options options;
  options.state_dir = options_.state_dir.path();
  options.gateway_key = driver_->device().public_key();
  options.gateway_endpoint = {spec.listen.address.is_unspecified() ? kLoopback
                                                                    : spec.listen.address,
                              driver_->local_endpoint().port};
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
  api_->SetOpenDashboard([this](std::optional<Endpoint> at) { return OpenDashboard(at); });
  if (options_.http) IM_RETURN_IF_ERROR(OpenDashboard(*options_.http).status());
  const ApiServer::Options api{.socket_path = options_.state_dir.api_socket(),
                               .owner = options_.api_owner};
  IM_ASSIGN_OR_RETURN(server_, ApiServer::Start(api, loop_, *api_));
  // From here on nothing fails.
  inside_.SetGateway(&controller_->gateway());
  if (peers) controller_->peers().Restore(*peers);
  controller_->peers().SetSave([this](proto::SavedPeers all, Durability durability) {
    return SavePeers(std::move(all), durability);
  });
  controller_->Restore(saved);
  // First of all on disk: incarnations that will not be used again.
  controller_->Save();
  controller_->Begin();
  return absl::OkStatus();
}

absl::Status Imd::LockImages() {
  const ClusterSpec& spec = options_.spec;  // a const list stays compact
  for (const HostSpec& host : spec.hosts) {
    if (host.image_tree.empty() || images_.contains(host.image_tree)) continue;
    auto lock = LockImage(host.image_tree);
    if (!lock.ok()) return Annotate(lock.status(), absl::StrCat("host ", host.name));
    images_[host.image_tree] = *std::move(lock);
  }
  return absl::OkStatus();
}

// What hosts wrote over their images is as old as the cluster's being up.
absl::Status Imd::TakeLayers(bool anew) {
  const std::string path = LayersDirectory(options_.spec);
  std::error_code error;
  if (images_.empty() && !std::filesystem::exists(path, error)) return absl::OkStatus();
  std::filesystem::create_directories(path, error);
  layers_ = FileDescriptor(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!layers_.valid()) return ErrnoStatus(absl::StrCat("make directory ", path));
  if (flock(layers_.get(), LOCK_EX | LOCK_NB) < 0) {
    layers_.Reset();
    if (images_.empty()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is used by another cluster of this name, which has another state "
                     "directory; another IM_DATA_DIR keeps them apart"));
  }
  if (!anew) return absl::OkStatus();
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    std::filesystem::remove_all(it->path(), error);
  }
  return error ? ErrnoStatus(absl::StrCat("empty ", path), error.value()) : absl::OkStatus();
}

absl::Status Imd::RemoveState() {
  unlink(options_.state_dir.dashboard_token().c_str());
  if (layers_.valid()) {
    std::error_code error;
    std::filesystem::remove_all(LayersDirectory(options_.spec), error);
    if (error) IM_LOG(kWarning, "remove ", LayersDirectory(options_.spec), ": ", error.message());
  }
  return store_.Remove();
}

absl::Status Imd::ChooseIdentity(const std::optional<proto::SavedState>& saved,
                                 const SavedPeers& peers, Endpoint& listen) {
  if (!saved && !peers) {
    key_ = tunnel::GeneratePrivateKey(random_);
    return absl::OkStatus();
  }
  const std::string& bytes = saved ? saved->gateway_private_key() : peers->gateway_private_key();
  const uint32_t port = saved ? saved->gateway_port() : peers->gateway_port();
  const auto key = tunnel::PrivateKey::FromBytes(bytes);
  if (!key || port == 0 || port > 65535) {
    return absl::DataLossError(absl::StrCat(saved ? store_.path() : PeersPath(),
                                            " lacks the gateway's key or port"));
  }
  key_ = *key;
  // Instances that live know this port alone. Peers can be told another one.
  const bool bound = saved && !saved->instances().empty();
  if (bound && listen.port != 0 && listen.port != port) {
    IM_LOG(kWarning, "network.listen: port ", listen.port, " has to wait for im down: hosts that run know ",
           port);
  }
  if (bound || listen.port == 0) listen.port = static_cast<uint16_t>(port);
  return absl::OkStatus();
}

absl::Status Imd::OpenTunnel(const std::optional<proto::SavedState>& saved,
                             const SavedPeers& peers) {
  const Endpoint& wanted = options_.spec.listen;
  tunnel::Driver::Options options;
  options.listen = wanted;
  options.device.mtu = kInnerMtu;
  IM_RETURN_IF_ERROR(ChooseIdentity(saved, peers, options.listen));
  auto driver = tunnel::Driver::Create(key_, options, loop_, random_, inside_, &session_watch_);
  // If nobody knows the port, any will do.
  const bool known = peers || (saved && !saved->instances().empty());
  if (!driver.ok() && wanted.port == 0 && !known) {
    options.listen.port = 0;
    driver = tunnel::Driver::Create(key_, options, loop_, random_, inside_, &session_watch_);
  }
  if (!driver.ok()) {
    return Annotate(driver.status(),
                    absl::StrCat(wanted == kDefaultListen ? "gateway's UDP port "
                                                          : "network.listen: UDP port ",
                                 options.listen.ToString()));
  }
  driver_ = *std::move(driver);
  restore_watch_ = RestoreWatch::Create(loop_, {}, [this](absl::string_view why) {
    IM_LOG(kInfo, "sessions with all hosts are renewed: ", why);
    driver_->OnRestored();
  });
  edge_.emplace(*driver_);
  return absl::OkStatus();
}

absl::StatusOr<Imd::SavedPeers> Imd::LoadPeers() const {
  const auto bytes = ReadCheckedFile(PeersPath(), kPeersWord, kPeersBytesMax);
  proto::SavedPeers saved;
  if (absl::IsDataLoss(bytes.status()) ||
      (bytes.ok() && *bytes && (!saved.ParseFromString(**bytes) || saved.format() != 1))) {
    return absl::DataLossError(absl::StrCat(
        PeersPath(), " is damaged",
        bytes.ok() ? "" : absl::StrCat(" (", bytes.status().message(), ")"),
        ": remove it, start again, and add the peers anew"));
  }
  if (!bytes.ok()) return bytes.status();
  return *bytes ? SavedPeers(std::move(saved)) : SavedPeers();
}

absl::Status Imd::SavePeers(proto::SavedPeers saved, Durability durability) {
  if (saved.peers().empty()) return RemoveFile(PeersPath());
  std::error_code error;
  std::filesystem::create_directories(options_.spec.data_directory, error);
  if (error) {
    return ErrnoStatus(absl::StrCat("make directory ", options_.spec.data_directory),
                       error.value());
  }
  saved.set_format(1);
  saved.set_gateway_private_key(std::string(key_.raw()));
  saved.set_gateway_port(driver_->local_endpoint().port);
  return WriteCheckedFile(PeersPath(), kPeersWord, saved.SerializeAsString(), durability);
}

void Imd::SessionWatch::OnSessionUp(const tunnel::PublicKey& peer) {
  // Not from within the tunnel.
  imd_.loop_.Post([self = imd_.self_, peer] {
    if (*self != nullptr && (*self)->controller_ != nullptr)
      (*self)->controller_->peers().OnSessionUp(peer);
  });
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
  netstack::Interface* nic6 = nullptr;
  if (spec.dual_stack.on()) {
    IM_ASSIGN_OR_RETURN(nic6, stack_->AddInterface({.name = "gateway",
                                                    .address = spec.dual_stack.ToV6(spec.gateway),
                                                    .prefix_length = DualStack::kPrefixLength,
                                                    .mtu = kInnerMtu},
                                                   controller_->gateway().from_stack()));
  }
  to_stack_.emplace(nic, nic6);
  controller_->gateway().SetStack(&*to_stack_);
  IM_ASSIGN_OR_RETURN(names_, NameServer::Open(loop_, *stack_, spec.gateway, spec.network,
                                               spec.dual_stack, controller_->name_index(),
                                               spec.domain));
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
          {.on_connect =
               [this, id, listen](const Endpoint& client) {
                 controller_->OnPublishedClient(
                     id, absl::StrCat(listen, " from ", client.ToString()));
               },
           .on_failure =
               [](const absl::Status& status) { IM_LOG(kInfo, std::string(status.message())); },
           .otherwise = [this, id, target = port.target] { return ByIpv6(id, target); }});
      if (!opened.ok()) return Annotate(opened.status(), PortName(spec, host, port));
      ports_.push_back(*std::move(opened));
    }
  }
  return absl::OkStatus();
}

// A host that is not up was refused by us, for a reason that both addresses have in common.
std::optional<Endpoint> Imd::ByIpv6(HostId id, uint16_t port) const {
  const HostTable::Host& host = controller_->hosts()[id];
  if (!options_.spec.dual_stack.on() ||
      (host.state != HostState::kRunning && host.state != HostState::kPaused))
    return std::nullopt;
  return Endpoint{options_.spec.dual_stack.ToV6(host.address), port};
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

absl::StatusOr<proto::DashboardReply> Imd::OpenDashboard(std::optional<Endpoint> at) {
  if (dashboard_ == nullptr) {
    IM_ASSIGN_OR_RETURN(DashboardToken token,
                        DashboardToken::Open(options_.state_dir.dashboard_token(),
                                             options_.api_owner, random_));
    feed_ = std::make_unique<DashboardFeed>(*controller_, [this] {
      if (dashboard_ != nullptr) dashboard_->PollStreams();
    });
    dashboard_ = std::make_unique<Dashboard>(loop_, *api_, std::move(token),
                                             [this] { return feed_->Open(); });
  }
  IM_ASSIGN_OR_RETURN(const Endpoint bound, dashboard_->Listen(at));
  IM_LOG(kInfo, "dashboard at http://", bound.ToString(), "/");
  proto::DashboardReply reply;
  reply.set_endpoint(bound.ToString());
  reply.set_token(dashboard_->token());
  return reply;
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
