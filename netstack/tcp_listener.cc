#include "netstack/tcp_listener.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "netstack/address.h"

namespace im::netstack {
namespace {

// Marks a pcb that counts in Core::half_open.
int half_open_mark;

err_t OnPassiveOpen(u8_t id, tcp_pcb_listen* listening, tcp_pcb* pcb) {
  Core* core = Core::current();
  if (core == nullptr || core->half_open >= kHalfOpenMax) return ERR_MEM;
  if (!TcpListenerImpl::Takes(*listening) || !core->pcbs().Add(pcb)) return ERR_MEM;
  ++core->half_open;
  tcp_ext_arg_set(pcb, id, &half_open_mark);
  tcp_ext_arg_set_callbacks(pcb, id, listening->ext_args[id].callbacks);
  return ERR_OK;
}

void OnPcbDestroyed(u8_t, void* data) {
  if (data == &half_open_mark && Core::current() != nullptr) --Core::current()->half_open;
}

constexpr tcp_ext_arg_callbacks kPcbCallbacks = {OnPcbDestroyed, OnPassiveOpen};

u8_t ListenerExtArgId() {
  static const u8_t id = tcp_ext_arg_alloc_id();
  return id;
}

absl::Status ListenError(err_t error, const Endpoint& local) {
  if (error == ERR_USE)
    return absl::AlreadyExistsError(absl::StrCat("listen on ", local.ToString(), ": in use"));
  return absl::ResourceExhaustedError(
      absl::StrCat("listen on ", local.ToString(), ": lwIP error ", error));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TcpListenerImpl>> TcpListenerImpl::Create(
    Core& core, const Endpoint& local, AcceptFunction on_accept) {
  core.Enter();
  ip_addr_t address = ToLwip(local.address);
  // "::" takes both families, as on Linux.
  if (local.address.is_unspecified() && !local.address.is_v4())
    IP_SET_TYPE_VAL(address, IPADDR_TYPE_ANY);
  tcp_pcb* pcb = tcp_new_ip_type(IP_GET_TYPE(&address));
  if (pcb == nullptr) return ListenError(ERR_MEM, local);
  ip_set_option(pcb, SOF_REUSEADDR);
  err_t error = tcp_bind(pcb, &address, local.port);
  tcp_pcb* listening = nullptr;
  if (error == ERR_OK) listening = tcp_listen_with_backlog_and_err(pcb, 0xff, &error);
  if (listening == nullptr) {
    tcp_close(pcb);
    return ListenError(error, local);
  }
  tcp_ext_arg_set_callbacks(listening, ListenerExtArgId(), &kPcbCallbacks);
  return std::unique_ptr<TcpListenerImpl>(
      new TcpListenerImpl(&core, listening, std::move(on_accept)));
}

TcpListenerImpl::TcpListenerImpl(Core* core, tcp_pcb* pcb, AcceptFunction on_accept)
    : Member(core),
      pcb_(pcb),
      local_{FromLwip(pcb->local_ip), pcb->local_port},
      on_accept_(std::make_shared<AcceptFunction>(std::move(on_accept))) {
  if (IP_IS_ANY_TYPE_VAL(pcb->local_ip)) local_.address = IpAddress();
  tcp_arg(pcb, this);
  tcp_accept(pcb, OnAccept);
}

bool TcpListenerImpl::Takes(const tcp_pcb_listen& listening) {
  return !static_cast<const TcpListenerImpl*>(listening.callback_arg)->paused_;
}

TcpListenerImpl::~TcpListenerImpl() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  if (core() == nullptr) return;
  core()->Enter();
  tcp_close(pcb_);  // half-open ones are reset when their ACK comes
}

void TcpListenerImpl::OnStackGone() {
  tcp_close(std::exchange(pcb_, nullptr));
}

err_t TcpListenerImpl::OnAccept(void* self, tcp_pcb* pcb, err_t error) {
  if (error != ERR_OK || pcb == nullptr) return ERR_VAL;  // no memory for another pcb
  auto* listener = static_cast<TcpListenerImpl*>(self);
  Core* core = listener->core();
  // It is no longer half open.
  if (tcp_ext_arg_get(pcb, ListenerExtArgId()) == &half_open_mark) {
    tcp_ext_arg_set(pcb, ListenerExtArgId(), nullptr);
    --core->half_open;
  }
  if (core->connections >= kTcpConnectionsMax) return ERR_MEM;  // lwIP resets it
  listener->accepted_.push_back(TcpConnectionImpl::Accept(*core, pcb));
  listener->Defer();
  return ERR_OK;
}

void TcpListenerImpl::RunDeferred() {
  bool destroyed = false;
  destroyed_ = &destroyed;
  const std::shared_ptr<AcceptFunction> on_accept = on_accept_;
  std::vector<std::unique_ptr<TcpConnectionImpl>> accepted = std::move(accepted_);
  accepted_.clear();
  for (std::unique_ptr<TcpConnectionImpl>& connection : accepted) {
    (*on_accept)(std::move(connection));
    if (destroyed) return;
  }
  destroyed_ = nullptr;
}

}  // namespace im::netstack
