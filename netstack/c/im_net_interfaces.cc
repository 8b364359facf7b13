// im_net.h: the stack and its interfaces.

#include <fcntl.h>
#include <sys/epoll.h>

#include <utility>

#include "base/status.h"
#include "netstack/back_to_back.h"
#include "netstack/c/library.h"
#include "netstack/c/socket_address.h"
#include "netstack/c/wg_config.h"
#include "netstack/im_net.h"

namespace im::netstack {
namespace {

constexpr int kDefaultMtu = 1420;  // bytes

// What adding and removing wait for cannot be waited for on the stack's thread.
std::shared_ptr<StackThread> ThreadToWaitFor() {
  std::shared_ptr<StackThread> thread = Library::Get().thread();
  if (thread != nullptr && thread->OnOwnThread()) {
    Library::Fail(EDEADLK, "called from an output function");
    return nullptr;
  }
  return thread;
}

std::optional<InterfaceOptions> ParseOptions(const char* address, int mtu) {
  const auto parsed = address != nullptr ? ParseWgAddress(address) : std::nullopt;
  if (!parsed.has_value()) {
    Library::Fail(address == nullptr ? EFAULT : EINVAL, "not an address with a prefix length");
    return std::nullopt;
  }
  return InterfaceOptions{.address = parsed->address,
                          .prefix_length = parsed->prefix_length,
                          .mtu = mtu == 0 ? kDefaultMtu : mtu};
}

// Not so regular files.
bool CanBePolled(int fd) {
  const FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  return epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

int AddTunnel(StackThread& thread, const WgConfig& config) {
  std::shared_ptr<TunnelUplink> tunnel;  // made and let go of on the stack's thread
  LibraryNic nic;
  absl::Status status;
  for (const WgAddress& address : config.addresses) {
    const auto number = thread.AddInterface(
        {.address = address.address, .prefix_length = address.prefix_length, .mtu = config.mtu},
        [&](EventLoop& loop,
            LateInterface& inside) -> absl::StatusOr<std::shared_ptr<PacketSink>> {
          if (tunnel == nullptr) {
            IM_ASSIGN_OR_RETURN(tunnel, TunnelUplink::Create(loop, config));
            nic.tunnel = tunnel;
          }
          tunnel->AddInside(address.address, inside);
          return tunnel;
        });
    status = number.status();
    if (!status.ok()) break;
    nic.numbers.push_back(*number);
  }
  if (!status.ok())
    for (const int number : nic.numbers) (void)thread.RemoveInterface(number);
  thread.Run([&](Stack&) { tunnel.reset(); });
  if (!status.ok()) return Library::Fail(status);
  return Library::Get().AddNic(std::move(nic));
}

int AddInterface(StackThread& thread, const InterfaceOptions& options,
                 const StackThread::Uplink& uplink, LibraryNic nic = {}) {
  const auto number = thread.AddInterface(options, uplink);
  if (!number.ok()) return Library::Fail(number.status());
  nic.numbers = {*number};
  return Library::Get().AddNic(std::move(nic));
}

}  // namespace
}  // namespace im::netstack

using im::netstack::Library;
using im::netstack::LibraryNic;

int im_net_start(void) { return Library::Get().Start(); }
int im_net_stop(void) { return Library::Get().Stop(); }
const char* im_net_message(void) { return Library::message().c_str(); }

int im_net_add_tunnel(const char* config) {
  const auto thread = im::netstack::ThreadToWaitFor();
  if (thread == nullptr) return -1;
  if (config == nullptr) return Library::Fail(EFAULT, "no configuration");
  const auto parsed = im::netstack::ParseWgConfig(config);
  if (!parsed.ok()) return Library::Fail(parsed.status());
  return im::netstack::AddTunnel(*thread, *parsed);
}

int im_net_tunnel_endpoint(int number, sockaddr* address, socklen_t* length) {
  const auto thread = im::netstack::ThreadToWaitFor();
  if (thread == nullptr) return -1;
  if (address == nullptr || length == nullptr) return Library::Fail(EFAULT, "no address");
  const std::optional<LibraryNic> nic = Library::Get().FindNic(number);
  if (!nic.has_value()) return -1;
  std::optional<im::Endpoint> endpoint;
  thread->Run([&](im::netstack::Stack&) {
    if (const auto tunnel = nic->tunnel.lock()) endpoint = tunnel->local_endpoint();
  });
  if (!endpoint.has_value()) return Library::Fail(EOPNOTSUPP, "not a tunnel");
  return im::netstack::ToUser(*endpoint, address, length);
}

int im_net_add_fd(const char* address, int mtu, int fd) {
  const auto thread = im::netstack::ThreadToWaitFor();
  if (thread == nullptr) return -1;
  const auto options = im::netstack::ParseOptions(address, mtu);
  if (!options.has_value()) return -1;
  auto own = std::make_shared<im::FileDescriptor>(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own->valid() || !own->SetNonBlocking().ok())
    return Library::Fail(EBADF, "not a file descriptor");
  if (!im::netstack::CanBePolled(own->get()))
    return Library::Fail(EINVAL, "a descriptor that cannot be polled");
  return im::netstack::AddInterface(
      *thread, *options,
      [&](im::EventLoop& loop, im::netstack::LateInterface& inside)
          -> absl::StatusOr<std::shared_ptr<im::PacketSink>> {
        return std::make_shared<im::netstack::FdUplink>(loop, std::move(*own), inside);
      });
}

int im_net_add_callback(const char* address, int mtu, im_net_output* output, void* context) {
  const auto thread = im::netstack::ThreadToWaitFor();
  if (thread == nullptr) return -1;
  if (output == nullptr) return Library::Fail(EFAULT, "no output function");
  const auto options = im::netstack::ParseOptions(address, mtu);
  if (!options.has_value()) return -1;
  return im::netstack::AddInterface(
      *thread, *options,
      [&](im::EventLoop&, im::netstack::LateInterface&) {
        return std::make_shared<im::netstack::CallbackUplink>(
            [output, context](std::span<const uint8_t> packet) {
              output(context, packet.data(), packet.size());
            });
      },
      {.input_bytes = std::make_shared<std::atomic<size_t>>(0)});
}

int im_net_input(int number, const void* packet, size_t size) {
  const auto thread = Library::Get().thread();
  if (thread == nullptr) return -1;
  if (packet == nullptr) return Library::Fail(EFAULT, "no packet");
  if (size == 0 || size > im::kPacketBytesMax)
    return Library::Fail(EMSGSIZE, "not the size of an IP packet");
  const std::optional<LibraryNic> nic = Library::Get().FindNic(number);
  if (!nic.has_value()) return -1;
  if (nic->input_bytes == nullptr) return Library::Fail(EOPNOTSUPP, "takes no packets this way");
  const std::shared_ptr<std::atomic<size_t>> under_way = nic->input_bytes;
  if (*under_way + size > im::netstack::kInputBytesMax)
    return Library::Fail(EAGAIN, "too much waits");
  *under_way += size;
  const auto* bytes = static_cast<const uint8_t*>(packet);
  const bool taken = thread->Post(
      [raw = thread.get(), number, under_way,
       copy = std::vector<uint8_t>(bytes, bytes + size)](im::netstack::Stack&) {
        *under_way -= copy.size();
        if (im::netstack::LateInterface* inside = raw->FindInterface(number))
          inside->Write(im::SinglePacket(copy));
      });
  return taken ? 0 : Library::Fail(ECANCELED, "there is no stack");
}

int im_net_add_pair(const char* address_a, const char* address_b, int mtu, int nics[2]) {
  const auto thread = im::netstack::ThreadToWaitFor();
  if (thread == nullptr) return -1;
  if (nics == nullptr) return Library::Fail(EFAULT, "no room for two numbers");
  const auto a = im::netstack::ParseOptions(address_a, mtu);
  const auto b = a.has_value() ? im::netstack::ParseOptions(address_b, mtu) : std::nullopt;
  if (!b.has_value()) return -1;
  const auto [to_a, to_b] = im::netstack::BackToBack();
  const int first = im::netstack::AddInterface(*thread, *a, to_a);
  if (first < 0) return -1;
  const int second = im::netstack::AddInterface(*thread, *b, to_b);
  if (second < 0) {
    const int error = errno;
    (void)im_net_remove(first);
    errno = error;
    return -1;
  }
  nics[0] = first;
  nics[1] = second;
  return 0;
}

int im_net_remove(int number) {
  const auto thread = im::netstack::ThreadToWaitFor();
  if (thread == nullptr) return -1;
  const std::optional<LibraryNic> nic = Library::Get().TakeNic(number);
  if (!nic.has_value()) return -1;
  for (const int each : nic->numbers) (void)thread->RemoveInterface(each);
  return 0;
}
