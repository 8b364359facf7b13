#include "orchestrator/cli/client.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "orchestrator/cli/cluster_choice.h"

namespace im::orchestrator::cli {
namespace {

// Calls without an end of their own (im wake, im exec, im events --follow) end
// when imd has not answered a ping for so long.
constexpr auto kPingInterval = std::chrono::seconds(5);
constexpr auto kPingTimeout = std::chrono::seconds(10);

// Of the largest answer, a list of hosts: of 3 KB each, mostly paths and the texts of
// errors, if all have run.
constexpr int kAnswerBytesMax = 64 << 20;
// Hosts of one answer: what imd writes in a few milliseconds, in which it does nothing else.
constexpr uint32_t kHostsPerAnswer = 2000;

int Milliseconds(std::chrono::milliseconds duration) { return static_cast<int>(duration.count()); }

}  // namespace

absl::StatusOr<Client> Client::Connect(const std::string& state_directory) {
  const std::string socket = ApiSocket(state_directory);
  const std::string name = std::filesystem::path(state_directory).filename().string();
  switch (ListenerAt(socket)) {
    case Listener::kAnswers: break;
    case Listener::kForbidden:
      return absl::PermissionDeniedError(
          absl::StrCat("cluster ", name, " was brought up by another user; run this with sudo"));
    case Listener::kNone:
      return absl::UnavailableError(absl::StrCat("cluster ", name,
                                                 " does not run (nobody listens at ", socket,
                                                 "); start it with: im up CLUSTER.YAML"));
  }
  Client client;
  client.state_directory_ = state_directory;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(kPingInterval));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kPingTimeout));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // as many as it takes
  arguments.SetMaxReceiveMessageSize(kAnswerBytesMax);
  const auto channel = grpc::CreateCustomChannel(
      absl::StrCat("unix:", socket), grpc::InsecureChannelCredentials(), arguments);
  client.stub_ = proto::Orchestrator::NewStub(channel);
  return client;
}

absl::StatusOr<Client> Client::Connect(const Context& context) {
  auto directory = context.ChosenStateDirectory();
  if (!directory.ok()) return directory.status();
  return Connect(*directory);
}

absl::Status Client::MayReachHosts() const {
  const std::string hosts = absl::StrCat(state_directory_, "/hosts");
  if (access(hosts.c_str(), X_OK) == 0) return absl::OkStatus();
  if (errno != EACCES) return ErrnoStatus(absl::StrCat("look into ", hosts));
  return absl::PermissionDeniedError(
      "the hosts' programs and logs are root's on this machine; run this with sudo");
}

absl::StatusOr<proto::Cluster> Client::GetCluster() {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + kAnswerTimeout);
  proto::Cluster cluster;
  const grpc::Status status = stub_->GetCluster(&call, {}, &cluster);
  if (!status.ok()) return FromGrpc(status);
  return cluster;
}

absl::StatusOr<std::vector<proto::HostInfo>> Client::ListHosts(
    const std::vector<std::string>& names, bool fresh) {
  proto::ListHostsRequest request;
  for (const std::string& name : names) request.add_names(name);
  request.set_fresh(fresh);
  request.set_limit(kHostsPerAnswer);
  std::vector<proto::HostInfo> hosts;
  do {
    grpc::ClientContext call;
    call.set_deadline(std::chrono::system_clock::now() + kAnswerTimeout);
    proto::ListHostsReply reply;
    const grpc::Status status = stub_->ListHosts(&call, request, &reply);
    if (!status.ok()) return FromGrpc(status);
    hosts.insert(hosts.end(), std::make_move_iterator(reply.mutable_hosts()->begin()),
                 std::make_move_iterator(reply.mutable_hosts()->end()));
    request.set_from(reply.next());
    request.set_fresh(false);  // all were asked
  } while (request.from() > 0);
  return hosts;
}

absl::StatusOr<proto::HostInfo> Client::FindHost(const std::string& name) {
  auto hosts = ListHosts({name});
  if (!hosts.ok()) return hosts.status();
  if (hosts->size() != 1)
    return absl::InvalidArgumentError(absl::StrCat(name, " is ", hosts->size(),
                                                   " hosts: name one of them, such as ",
                                                   hosts->front().name()));
  return std::move(hosts->front());
}

absl::StatusOr<proto::HostInfo> Client::WakeForExec(const std::string& host,
                                                    const std::string& detail) {
  grpc::ClientContext call;
  proto::WakeRequest request;
  request.set_name(host);
  request.set_cause(proto::WakeCause::EXEC);
  request.set_detail(detail);
  proto::HostInfo info;
  const grpc::Status status = stub_->Wake(&call, request, &info);
  if (!status.ok()) return FromGrpc(status);
  return info;
}

absl::StatusOr<proto::WhyReply> Client::Why(const std::string& host) {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + kAnswerTimeout);
  proto::HostRequest request;
  request.set_name(host);
  proto::WhyReply reply;
  const grpc::Status status = stub_->Why(&call, request, &reply);
  if (!status.ok()) return FromGrpc(status);
  return reply;
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // The numbers of both are the same by design.
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kUnavailable) {
    return absl::UnavailableError(absl::StrCat("the cluster's imd ended or went away: ",
                                               status.error_message()));
  }
  if (code == absl::StatusCode::kDeadlineExceeded) {
    return absl::DeadlineExceededError("the cluster's imd did not answer in time");
  }
  return absl::Status(code, status.error_message());
}

}  // namespace im::orchestrator::cli
