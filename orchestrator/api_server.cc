#include "orchestrator/api_server.h"

#include <errno.h>
#include <grpcpp/grpcpp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/api_call.h"
#include "proto/api.grpc.pb.h"

namespace im::orchestrator {
namespace {

// For what the last calls are told to be taken by their clients. One that does
// not read is cut off then.
constexpr std::chrono::milliseconds kShutdownGrace(500);

absl::Status CheckSocketPath(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the path of the API socket is empty");
  if (path.size() > kSocketPathBytesMax)
    return absl::InvalidArgumentError(
        absl::StrCat("the path of the API socket has ", path.size(),
                     " bytes, and the system takes ", kSocketPathBytesMax, ": ", path));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return ErrnoStatus("socket(AF_UNIX)");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0)
    return absl::AlreadyExistsError(absl::StrCat("another server listens at ", path));
  if (errno == ENOENT) {
    // gRPC would only say that it cannot listen.
    const size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    if (access(directory.c_str(), W_OK | X_OK) != 0)
      return ErrnoStatus(absl::StrCat("make a socket in ", directory));
    return absl::OkStatus();
  }
  if (errno != ECONNREFUSED) return ErrnoStatus(absl::StrCat("connect ", path));
  // Left behind by one that was killed.
  if (unlink(path.c_str()) != 0) return ErrnoStatus(absl::StrCat("unlink ", path));
  return absl::OkStatus();
}

}  // namespace

// ---- ApiCall ----------------------------------------------------------------

void ApiCall::Begin(std::function<void()> start) {
  const std::shared_ptr<ApiCall> self = shared_from_this();
  std::optional<grpc::Status> refusal;
  {
    std::lock_guard<std::mutex> lock(core_->mutex);
    if (core_->refusing) {
      refusal = grpc::Status(grpc::StatusCode::UNAVAILABLE, "imd is going down");
    } else if (core_->calls.size() >= core_->calls_max) {
      refusal = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                             absl::StrCat("more than ", core_->calls_max, " calls are open"));
    }
    core_->calls.insert(self);
    // Under the lock: after Shutdown() nothing is posted that would start.
    if (!refusal)
      core_->loop.Post([self, start = std::move(start)] {
        if (!self->core_->closed && !self->finished()) start();
      });
  }
  if (refusal) Abort(*refusal);
}

void ApiCall::RunCleanup() {
  if (!cleanup_) return;
  const std::function<void()> cleanup = std::move(cleanup_);
  cleanup_ = nullptr;
  cleanup();
}

void ApiCall::Done() {
  const std::shared_ptr<ApiCall> self = shared_from_this();
  std::lock_guard<std::mutex> lock(core_->mutex);
  core_->calls.erase(self);
  if (core_->calls.empty()) core_->drained.notify_all();
  // Once the server is shut down, which also ran the cleanups, the loop may be
  // gone.
  if (core_->refusing) return;
  core_->loop.Post([self] {
    if (!self->core_->closed) self->RunCleanup();
  });
}

// ---- the service ------------------------------------------------------------

class ApiServer::Impl final : public proto::Orchestrator::CallbackService {
 public:
  Impl(const Options& options, EventLoop& loop, ApiBackend& backend)
      : options_(options), core_(std::make_shared<ApiCore>(loop, backend, options.calls_max)) {}

  absl::Status Start() {
    IM_RETURN_IF_ERROR(CheckSocketPath(options_.socket_path));
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("unix:", options_.socket_path),
                             grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    // A client may ask at any time whether this process is still alive.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    // Not for anybody else, from its first moment on.
    const mode_t old_mask = umask(0177);
    server_ = builder.BuildAndStart();
    umask(old_mask);
    if (!server_)
      return absl::UnavailableError(absl::StrCat("cannot listen at ", options_.socket_path));
    if (chmod(options_.socket_path.c_str(), 0600) != 0)
      return ErrnoStatus(absl::StrCat("chmod ", options_.socket_path));
    if (options_.owner && lchown(options_.socket_path.c_str(), *options_.owner, -1) != 0)
      return ErrnoStatus(absl::StrCat("give ", options_.socket_path, " to user ",
                                      *options_.owner));
    return absl::OkStatus();
  }

  void Shutdown() {
    if (core_->closed) return;
    core_->closed = true;
    std::vector<std::shared_ptr<ApiCall>> calls;
    {
      std::lock_guard<std::mutex> lock(core_->mutex);
      core_->refusing = true;
      calls.assign(core_->calls.begin(), core_->calls.end());
    }
    for (const std::shared_ptr<ApiCall>& call : calls) {
      call->RunCleanup();
      call->Abort(grpc::Status(grpc::StatusCode::UNAVAILABLE, "imd is going down"));
    }
    calls.clear();
    if (!server_) return;
    {
      // A connection that is closed takes with it what its last calls were
      // told, unless that was sent before.
      std::unique_lock<std::mutex> lock(core_->mutex);
      core_->drained.wait_for(lock, kShutdownGrace, [this] { return core_->calls.empty(); });
    }
    // All is said, or will not be heard. gRPC would now wait for its clients to
    // close their connections, and one that is in no call does not do it.
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

  size_t open_calls() const {
    std::lock_guard<std::mutex> lock(core_->mutex);
    return core_->calls.size();
  }

  grpc::ServerUnaryReactor* GetCluster(grpc::CallbackServerContext*,
                                       const proto::GetClusterRequest*,
                                       proto::Cluster* reply) override {
    return Unary<proto::Cluster>(reply, [core = core_](const auto& call) {
      call->Answer(core->backend.Cluster());
    });
  }

  grpc::ServerUnaryReactor* ListHosts(grpc::CallbackServerContext*,
                                      const proto::ListHostsRequest* request,
                                      proto::ListHostsReply* reply) override {
    return Unary<proto::ListHostsReply>(reply, [core = core_, request = *request](
                                                   const auto& call) {
      if (!request.fresh()) return call->Answer(core->backend.Hosts(request));
      core->backend.Refresh({request.names().begin(), request.names().end()}, [=] {
        call->Answer(core->backend.Hosts(request));
      });
    });
  }

  grpc::ServerUnaryReactor* Why(grpc::CallbackServerContext*, const proto::HostRequest* request,
                                proto::WhyReply* reply) override {
    return Unary<proto::WhyReply>(reply, [core = core_, name = request->name()](
                                             const auto& call) {
      core->backend.Refresh({name}, [=] { call->Answer(core->backend.Why(name)); });
    });
  }

  grpc::ServerUnaryReactor* Wake(grpc::CallbackServerContext*, const proto::WakeRequest* request,
                                 proto::HostInfo* reply) override {
    return Unary<proto::HostInfo>(reply, [core = core_, request = *request](const auto& call) {
      core->backend.Wake(request, [call](absl::StatusOr<proto::HostInfo> host) {
        call->Answer(std::move(host));
      });
    });
  }

  grpc::ServerUnaryReactor* Suspend(grpc::CallbackServerContext*,
                                    const proto::HostRequest* request,
                                    proto::HostInfo* reply) override {
    return Unary<proto::HostInfo>(reply, [core = core_, name = request->name()](
                                             const auto& call) {
      core->backend.Suspend(name, [call](absl::StatusOr<proto::HostInfo> host) {
        call->Answer(std::move(host));
      });
    });
  }

  grpc::ServerUnaryReactor* Release(grpc::CallbackServerContext*,
                                    const proto::HostRequest* request,
                                    proto::HostInfo* reply) override {
    return Unary<proto::HostInfo>(reply, [core = core_, name = request->name()](
                                             const auto& call) {
      core->backend.Release(name, [call](absl::StatusOr<proto::HostInfo> host) {
        call->Answer(std::move(host));
      });
    });
  }

  grpc::ServerWriteReactor<proto::Event>* Events(grpc::CallbackServerContext*,
                                                 const proto::EventsRequest* request) override {
    return Stream<proto::Event>([core = core_, request = *request](const auto& call) {
      const std::vector<std::string> names(request.names().begin(), request.names().end());
      EventLog& log = core->backend.events();
      const std::vector<proto::Event> kept = log.Newest(names, request.newest());
      // A guest that has left may still have events.
      if (kept.empty() && !names.empty()) {
        proto::ListHostsRequest known;
        *known.mutable_names() = request.names();
        if (const absl::Status status = core->backend.Hosts(known).status(); !status.ok())
          return call->End(ToGrpc(status));
      }
      for (const proto::Event& event : kept) call->Push(event);
      if (!request.follow()) return call->End(grpc::Status::OK);
      Follow(*core, call, names);
    });
  }

  grpc::ServerWriteReactor<proto::JoinReply>* Join(grpc::CallbackServerContext*,
                                                   const proto::JoinRequest* request) override {
    return Stream<proto::JoinReply>([core = core_, request = *request](const auto& call) {
      absl::StatusOr<proto::JoinReply> reply =
          core->backend.Join(request, [weak = std::weak_ptr(call)](absl::Status status) {
            const auto ended = weak.lock();
            if (!ended) return;
            ended->set_cleanup(nullptr);
            ended->End(ToGrpc(status));
          });
      if (!reply.ok()) return call->End(ToGrpc(reply.status()));
      call->set_cleanup([core, name = reply->name()] { core->backend.Leave(name); });
      call->Push(*std::move(reply));
    });
  }

  grpc::ServerUnaryReactor* OpenDashboard(grpc::CallbackServerContext*,
                                          const proto::DashboardRequest* request,
                                          proto::DashboardReply* reply) override {
    return Unary<proto::DashboardReply>(reply, [core = core_, request = *request](
                                                   const auto& call) {
      call->Answer(core->backend.OpenDashboard(request));
    });
  }

  grpc::ServerWriteReactor<proto::Event>* Down(grpc::CallbackServerContext*,
                                               const proto::DownRequest* request) override {
    return Stream<proto::Event>([core = core_, force = request->force()](const auto& call) {
      Follow(*core, call, {});
      core->backend.Down(force, [call](absl::Status status) { call->End(ToGrpc(status)); });
    });
  }

 private:
  template <typename Reply, typename F>
  grpc::ServerUnaryReactor* Unary(Reply* reply, F serve) {
    auto call = std::make_shared<UnaryCall<Reply>>(core_, reply);
    UnaryCall<Reply>* const reactor = call.get();
    reactor->Begin([call = std::move(call), serve = std::move(serve)] { serve(call); });
    return reactor;
  }

  template <typename Message, typename F>
  grpc::ServerWriteReactor<Message>* Stream(F serve) {
    auto call = std::make_shared<StreamCall<Message>>(core_, options_.queued_events_max);
    StreamCall<Message>* const reactor = call.get();
    reactor->Begin([call = std::move(call), serve = std::move(serve)] { serve(call); });
    return reactor;
  }

  // New events of the hosts (none named: all), until the call is over.
  static void Follow(ApiCore& core, const std::shared_ptr<StreamCall<proto::Event>>& call,
                     std::vector<std::string> names) {
    EventLog& log = core.backend.events();
    const EventLog::SubscriptionId id = log.Subscribe(
        [weak = std::weak_ptr(call), names = std::move(names)](const proto::Event& event) {
          if (!EventConcerns(event, names)) return;
          if (const auto reader = weak.lock()) reader->Push(event);
        });
    call->set_cleanup([&log, id] { log.Unsubscribe(id); });
  }

  const Options options_;
  const std::shared_ptr<ApiCore> core_;
  std::unique_ptr<grpc::Server> server_;
};

// ---- ApiServer --------------------------------------------------------------

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ApiServer::~ApiServer() { Shutdown(); }

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(const Options& options,
                                                            EventLoop& loop, ApiBackend& backend) {
  auto server =
      std::unique_ptr<ApiServer>(new ApiServer(std::make_unique<Impl>(options, loop, backend)));
  IM_RETURN_IF_ERROR(server->impl_->Start());
  return server;
}

void ApiServer::Shutdown() { impl_->Shutdown(); }

size_t ApiServer::open_calls() const { return impl_->open_calls(); }

}  // namespace im::orchestrator
