// im peer: machines that join the cluster with a stock WireGuard.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/random.h"
#include "base/status.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/json.h"
#include "orchestrator/cli/peer_config.h"
#include "orchestrator/cli/qr_code.h"
#include "orchestrator/cli/table.h"
#include "orchestrator/spec/units.h"
#include "tunnel/keys.h"

namespace im::orchestrator::cli {
namespace {

struct AddOptions {
  std::string name;
  std::string address;
  std::string endpoint;
  std::string dns = "line";
  std::string output;
  bool preshared = false;
  bool qr = false;
  bool json = false;
};

// The file that the configuration goes to: made before anything else happens, and gone
// again unless it was written. One that is there may be somebody's only copy of a key.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (file_.valid()) unlink(path_.c_str());
  }
  absl::Status Create() {
    file_ = FileDescriptor(open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    return file_.valid() ? absl::OkStatus() : ErrnoStatus(absl::StrCat("create ", path_));
  }
  absl::Status Write(const std::string& text) {
    const ssize_t n = write(file_.get(), text.data(), text.size());
    if (n != static_cast<ssize_t>(text.size()) || fsync(file_.get()) < 0)
      return ErrnoStatus(absl::StrCat("write ", path_));
    file_.Reset();
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  FileDescriptor file_;
};

void Note(absl::string_view text) { std::fputs(absl::StrCat("im: ", text, "\n").c_str(), stderr); }

// Where the peer finds the gateway; says so if that is not of much use.
absl::StatusOr<std::string> ChooseEndpoint(const AddOptions& options,
                                           const proto::AddPeerReply& reply) {
  const Endpoint listens = Endpoint::Parse(reply.gateway_endpoint()).value_or(Endpoint());
  if (!options.endpoint.empty()) return CompleteEndpoint(options.endpoint, listens.port);
  if (listens.address.is_loopback()) {
    Note(absl::StrCat("the gateway listens at ", reply.gateway_endpoint(),
                      ", so this works on this machine alone; for others write into "
                      "cluster.yaml: network: {listen: \"0.0.0.0:51820\"}"));
  }
  if (!listens.address.is_unspecified()) return listens.ToString();
  const auto own = OwnAddress(IpPrefix::Parse(reply.network()).value_or(IpPrefix()));
  if (own) return Endpoint{*own, listens.port}.ToString();
  return absl::FailedPreconditionError(
      "this machine has no address that others could reach it by; say which one with "
      "--endpoint HOST");
}

absl::Status Remove(Client& client, const std::string& name, proto::PeerInfo& peer) {
  grpc::ClientContext call;
  proto::RemovePeerRequest request;
  request.set_name(name);
  return FromGrpc(client.stub().RemovePeer(&call, request, &peer));
}

PeerDns DnsOf(const std::string& word) {
  return word == "line" ? PeerDns::kLine : word == "resolvectl" ? PeerDns::kResolvectl
                                                                 : PeerDns::kNone;
}

absl::StatusOr<PeerConfig> AddPeer(Client& client, const AddOptions& options) {
  if (!options.endpoint.empty()) {
    IM_RETURN_IF_ERROR(CompleteEndpoint(options.endpoint, 1).status());
  }
  const auto cluster = client.GetCluster();
  if (!cluster.ok()) return cluster.status();
  SecureRandom random;
  const tunnel::PrivateKey key = tunnel::GeneratePrivateKey(random);
  tunnel::PresharedKey preshared;
  if (options.preshared) random.Fill(preshared.bytes());
  proto::AddPeerRequest request;
  request.set_name(options.name);
  request.set_address(options.address);
  request.set_public_key(std::string(tunnel::DerivePublicKey(key).raw()));
  if (options.preshared) request.set_preshared_key(std::string(preshared.raw()));
  grpc::ClientContext call;
  proto::AddPeerReply reply;
  IM_RETURN_IF_ERROR(FromGrpc(client.stub().AddPeer(&call, request, &reply)));
  const auto endpoint = ChooseEndpoint(options, reply);
  if (!endpoint.ok()) {
    // Nobody has its key.
    proto::PeerInfo removed;
    (void)Remove(client, options.name, removed);
    return endpoint.status();
  }
  return PeerConfig{.cluster = cluster->name(),
                    .name = reply.peer().name(),
                    .address = reply.peer().address(),
                    .address6 = reply.peer().address6(),
                    .private_key = key.ToBase64(),
                    .public_key = reply.peer().public_key(),
                    .preshared_key = options.preshared ? preshared.ToBase64() : "",
                    .gateway_public_key = reply.gateway_public_key(),
                    .endpoint = *endpoint,
                    .network = reply.network(),
                    .network6 = reply.network6(),
                    .resolver = reply.gateway(),
                    .domain = reply.domain(),
                    .mtu = reply.mtu(),
                    .dns = DnsOf(options.dns)};
}

int RunAdd(const Context& context, const AddOptions& options) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  NewFile file(options.output);
  if (!options.output.empty()) {
    if (absl::Status status = file.Create(); !status.ok()) return Fail(status);
  }
  const auto config = AddPeer(*client, options);
  if (!config.ok()) return Fail(config.status());
  if (!options.output.empty()) {
    if (absl::Status status = file.Write(config->ToText(/*comments=*/true)); !status.ok()) {
      proto::PeerInfo removed;
      (void)Remove(*client, options.name, removed);
      return Fail(status);
    }
    Note(absl::StrCat("written to ", options.output, ", which holds the peer's key"));
  }
  if (options.qr) {
    const auto code = QrCode(config->ToText(/*comments=*/false), context.terminal);
    if (!code.ok()) return Fail(code.status());
    std::fputs(code->c_str(), stdout);
  }
  if (options.json) {
    std::puts(config->ToJson().c_str());
  } else if (!options.qr && options.output.empty()) {
    std::fputs(config->ToText(/*comments=*/true).c_str(), stdout);
  }
  return kExitOk;
}

std::string Ago(int64_t unix_nanos) {
  if (unix_nanos == 0) return "";
  const Duration passed(std::max<int64_t>(RealClock().UnixNanos() - unix_nanos, 0));
  return absl::StrCat(FormatDuration(std::chrono::floor<std::chrono::seconds>(passed)), " ago");
}

int RunList(const Context& context, bool json) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  grpc::ClientContext call;
  proto::ListPeersReply reply;
  const absl::Status status = FromGrpc(client->stub().ListPeers(&call, {}, &reply));
  if (!status.ok()) return Fail(status);
  if (json) {
    std::vector<std::string> items;
    for (const proto::PeerInfo& peer : reply.peers()) items.push_back(ToJson(peer));
    std::puts(absl::StrCat("{\"peers\":[", absl::StrJoin(items, ","), "]}").c_str());
    return kExitOk;
  }
  if (reply.peers().empty()) {
    std::puts("no peers; im peer add NAME adds one");
    return kExitOk;
  }
  Table table({{"PEER"},
               {"ADDRESS"},
               {"LAST HANDSHAKE"},
               {"FROM"},
               {"RECEIVED", Table::Align::kRight},
               {"SENT", Table::Align::kRight},
               {"PROBLEM"}});
  for (const proto::PeerInfo& peer : reply.peers()) {
    const std::string shaken = Ago(peer.last_handshake_unix_nanos());
    table.Add({peer.name(), peer.address(), shaken.empty() ? "never" : shaken, peer.endpoint(),
               FormatSize(peer.rx_bytes()), FormatSize(peer.tx_bytes()), peer.problem()});
  }
  std::fputs(table.ToString(context.terminal).c_str(), stdout);
  return kExitOk;
}

int RunRemove(const Context& context, const std::vector<std::string>& names) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  int code = kExitOk;
  for (const std::string& name : names) {
    proto::PeerInfo peer;
    const absl::Status status = Remove(*client, name, peer);
    if (!status.ok()) {
      code = Fail(status);
      continue;
    }
    std::puts(absl::StrCat(peer.name(), " is cut off; ", peer.address(), " is free again").c_str());
  }
  return code;
}

void AddAdd(CLI::App& peer, Context& context) {
  CLI::App* verb = peer.add_subcommand("add", "Let a machine join; prints its configuration");
  auto options = std::make_shared<AddOptions>();
  verb->add_option("NAME", options->name, "What im peer list and im why call it")->required();
  verb->add_option("--address", options->address,
                   "Its IPv4 address in the network; default: the highest free one");
  verb->add_option("--endpoint", options->endpoint,
                   "HOST or HOST:PORT where it finds the gateway, if not at this machine's own\n"
                   "address: a name, or the outer address of a router that forwards the port");
  verb->add_option("--dns", options->dns,
                   "line: DNS = in the configuration; resolvectl: names of the cluster alone are\n"
                   "asked there, for Linux with systemd-resolved; none: nothing")
      ->check(CLI::IsMember({"line", "resolvectl", "none"}));
  verb->add_flag("--preshared", options->preshared,
                 "With a key that both ends have besides (against quantum computers to come)");
  verb->add_option("-o,--output", options->output,
                   "Write the configuration to this new file, mode 0600, instead");
  verb->add_flag("--qr", options->qr, "Show it as a QR code, for the apps on phones, instead");
  verb->add_flag("--json", options->json, "As JSON, the configuration among it");
  verb->callback([&context, options] {
    context.run = [&context, options] { return RunAdd(context, *options); };
  });
}

}  // namespace

void AddPeer(CLI::App& app, Context& context) {
  CLI::App* peer = app.add_subcommand(
      "peer", "Let machines join with a stock WireGuard: laptops, phones, servers");
  peer->require_subcommand(1);
  AddAdd(*peer, context);

  CLI::App* list = peer->add_subcommand("list", "Show the machines that may join");
  auto json = std::make_shared<bool>(false);
  list->add_flag("--json", *json, "As JSON: {peers}");
  list->callback([&context, json] {
    context.run = [&context, json] { return RunList(context, *json); };
  });

  CLI::App* remove = peer->add_subcommand("remove", "Cut machines off, at once and for good");
  auto names = std::make_shared<std::vector<std::string>>();
  remove->add_option("PEER", *names, "The machines")->required();
  remove->callback([&context, names] {
    context.run = [&context, names] { return RunRemove(context, *names); };
  });

  peer->footer(
      "The configuration is for wg-quick and every WireGuard app, and holds the machine's key,\n"
      "which is nowhere else. With it the machine reaches every host by name and address,\n"
      "and its packets wake them:\n"
      "  im peer add laptop -o laptop.conf     then, on the laptop: wg-quick up ./laptop.conf\n"
      "  im peer add phone --qr                read by the phone's WireGuard app\n"
      "It is good until im peer remove, also after im down and im up. The gateway listens\n"
      "where network.listen in cluster.yaml says; by default on this machine alone.");
}

}  // namespace im::orchestrator::cli
