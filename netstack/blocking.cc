#include "netstack/blocking.h"

#include <utility>

#include "base/status.h"

namespace im::netstack {
namespace {

absl::Status DeadlinePassed() { return absl::DeadlineExceededError("the deadline has passed"); }

}  // namespace

Instant Within(Duration duration) {
  const Instant now = RealClock().Now();
  return duration >= kNever - now ? kNever : now + duration;
}

// ---- BlockingConnection ----

BlockingConnection::BlockingConnection(std::shared_ptr<SharedStream> stream)
    : stream_(std::move(stream)) {}

BlockingConnection::~BlockingConnection() { stream_->Close(); }

absl::StatusOr<size_t> BlockingConnection::Read(std::span<uint8_t> buffer, Instant deadline) {
  for (;;) {
    const IoResult result = stream_->Read(buffer);
    if (!result.status.ok()) return result.status;
    if (!result.would_block) return result.size;
    if (stream_->Wait(Readiness::kReadable, deadline) == 0) return DeadlinePassed();
  }
}

absl::Status BlockingConnection::Write(std::span<const uint8_t> bytes, Instant deadline) {
  while (!bytes.empty()) {
    const IoResult result = stream_->Write(bytes);
    IM_RETURN_IF_ERROR(result.status);
    bytes = bytes.subspan(result.size);
    if (!bytes.empty() && stream_->Wait(Readiness::kWritable, deadline) == 0)
      return DeadlinePassed();
  }
  return absl::OkStatus();
}

void BlockingConnection::CloseWrite() { stream_->CloseWrite(); }
void BlockingConnection::Close() { stream_->Close(); }
void BlockingConnection::Abort() { stream_->Abort(); }
Endpoint BlockingConnection::local() const { return stream_->local(); }
Endpoint BlockingConnection::remote() const { return stream_->remote(); }
void BlockingConnection::SetNoDelay(bool on) { stream_->SetNoDelay(on); }
void BlockingConnection::SetKeepAlive(const std::optional<KeepAlive>& keep_alive) {
  stream_->SetKeepAlive(keep_alive);
}

// ---- BlockingListener ----

BlockingListener::BlockingListener(std::shared_ptr<SharedListener> listener)
    : listener_(std::move(listener)) {}

BlockingListener::~BlockingListener() { Close(); }

absl::StatusOr<std::unique_ptr<BlockingConnection>> BlockingListener::Accept(Instant deadline) {
  for (;;) {
    IM_ASSIGN_OR_RETURN(std::shared_ptr<SharedStream> stream, listener_->Accept());
    if (stream != nullptr) return std::make_unique<BlockingConnection>(std::move(stream));
    if (listener_->Wait(Readiness::kReadable, deadline) == 0) return DeadlinePassed();
  }
}

void BlockingListener::Close() { listener_->Close(); }
Endpoint BlockingListener::local() const { return listener_->local(); }

// ---- BlockingUdp ----

BlockingUdp::BlockingUdp(std::shared_ptr<SharedUdp> endpoint) : endpoint_(std::move(endpoint)) {}

BlockingUdp::~BlockingUdp() { Close(); }

void BlockingUdp::Connect(const Endpoint& remote) { endpoint_->Connect(remote); }

absl::StatusOr<size_t> BlockingUdp::Receive(std::span<uint8_t> buffer, Endpoint* from,
                                            Instant deadline) {
  for (;;) {
    const IoResult result = endpoint_->Receive(buffer, from);
    if (!result.status.ok()) return result.status;
    if (!result.would_block) return result.size;
    if (endpoint_->Wait(Readiness::kReadable, deadline) == 0) return DeadlinePassed();
  }
}

absl::Status BlockingUdp::SendTo(const Endpoint& remote, std::span<const uint8_t> payload,
                                 Instant deadline) {
  for (;;) {
    const IoResult result = endpoint_->Send(remote, payload);
    if (!result.would_block) return result.status;
    if (endpoint_->Wait(Readiness::kWritable, deadline) == 0) return DeadlinePassed();
  }
}

void BlockingUdp::Close() { endpoint_->Close(); }
Endpoint BlockingUdp::local() const { return endpoint_->local(); }

// ---- BlockingStack ----

absl::StatusOr<std::unique_ptr<BlockingStack>> BlockingStack::Create() {
  IM_ASSIGN_OR_RETURN(std::shared_ptr<StackThread> thread, StackThread::Create());
  return std::unique_ptr<BlockingStack>(new BlockingStack(std::move(thread)));
}

BlockingStack::~BlockingStack() { thread_->Stop(); }

absl::StatusOr<int> BlockingStack::AddInterface(const InterfaceOptions& options,
                                                const StackThread::Uplink& uplink) {
  return thread_->AddInterface(options, uplink);
}

absl::Status BlockingStack::RemoveInterface(int number) {
  return thread_->RemoveInterface(number);
}

absl::StatusOr<std::unique_ptr<BlockingConnection>> BlockingStack::Dial(
    const DialOptions& options) {
  std::shared_ptr<SharedStream> stream = SharedStream::Dial(thread_, options);
  stream->Wait(Readiness::kWritable, kNever);
  if (!stream->connected()) return stream->status();
  return std::make_unique<BlockingConnection>(std::move(stream));
}

absl::StatusOr<std::unique_ptr<BlockingListener>> BlockingStack::Listen(const Endpoint& local,
                                                                        int backlog) {
  IM_ASSIGN_OR_RETURN(std::shared_ptr<SharedListener> listener,
                      SharedListener::Listen(thread_, local, backlog));
  return std::make_unique<BlockingListener>(std::move(listener));
}

absl::StatusOr<std::unique_ptr<BlockingUdp>> BlockingStack::BindUdp(const Endpoint& local) {
  IM_ASSIGN_OR_RETURN(std::shared_ptr<SharedUdp> endpoint, SharedUdp::Bind(thread_, local));
  return std::make_unique<BlockingUdp>(std::move(endpoint));
}

bool BlockingStack::Run(const std::function<void(Stack&)>& function) {
  return thread_->Run(function);
}

}  // namespace im::netstack
