#include "orchestrator/agent/start_request.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/ip_address.h"
#include "orchestrator/agent/spawn.h"
#include "tunnel/keys.h"

namespace im::agent {
namespace {

constexpr uint32_t kMtuMin = 576;
constexpr uint32_t kMtuMin6 = 1280;  // RFC 8200 5
constexpr uint32_t kMtuDefault = 1420;
constexpr uint32_t kStartTimeoutDefaultMs = 30'000;
constexpr uint32_t kStopGraceDefaultMs = 10'000;

bool IsAddress(const std::string& bytes) { return bytes.size() == 4 || bytes.size() == 16; }

bool IsIpv6(const std::string& bytes) { return bytes.size() == 16 && !AddressOf(bytes).is_v4(); }

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("start request: ", what));
}

}  // namespace

IpAddress AddressOf(const std::string& bytes) {
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

DualStack DualStackOf(const proto::StartRequest& request) {
  if (request.network6().empty()) return DualStack();
  return DualStack(IpPrefix(AddressOf(request.network6()), DualStack::kPrefixLength));
}

std::vector<IpPrefix> NetworksOf(const proto::StartRequest& request) {
  std::vector<IpPrefix> networks = {
      IpPrefix(AddressOf(request.address()), static_cast<int>(request.prefix_length()))};
  if (const DualStack dual_stack = DualStackOf(request); dual_stack.on())
    networks.push_back(dual_stack.network());
  return networks;
}

absl::StatusOr<proto::StartRequest> ReadStartRequest(FileDescriptor fd) {
  proto::StartRequest request;
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus("read the start request");
  bool parsed = false;
  if (S_ISREG(info.st_mode) && info.st_size > 0) {
    // Mapped, so that no copy of the key stays in freed memory.
    const size_t size = static_cast<size_t>(info.st_size);
    void* bytes = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (bytes == MAP_FAILED) return ErrnoStatus("map the start request");
    parsed = request.ParseFromArray(bytes, static_cast<int>(size));
    munmap(bytes, size);
  } else {
    parsed = request.ParseFromFileDescriptor(fd.get());
  }
  if (!parsed) return Wrong("cannot be parsed");
  IM_RETURN_IF_ERROR(CheckStartRequest(request));
  return request;
}

absl::Status CheckStartRequest(proto::StartRequest& request) {
  if (request.instance_dir().empty()) return Wrong("no instance_dir");
  if (request.private_key().size() != tunnel::kKeyBytes) return Wrong("no private key");
  if (request.gateway_public_key().size() != tunnel::kKeyBytes) return Wrong("no gateway key");
  const auto gateway = Endpoint::Parse(request.gateway_endpoint());
  if (!gateway) return Wrong("no gateway endpoint");
  if (!IsAddress(request.address()) || request.address().size() != request.gateway_address().size())
    return Wrong("no address, or none of the gateway in the same family");
  if (request.prefix_length() > request.address().size() * 8) return Wrong("prefix length");
  if (!request.network6().empty() &&
      (!IsIpv6(request.network6()) || request.address().size() != 4))
    return Wrong("IPv6 network");
  if (!request.listen_address().empty() && !IpAddress::Parse(request.listen_address()))
    return Wrong("listen address");
  if (request.mtu() == 0) request.set_mtu(kMtuDefault);
  const uint32_t mtu_min = request.network6().empty() ? kMtuMin : kMtuMin6;
  if (request.mtu() < mtu_min || request.mtu() > 65535) return Wrong("MTU");
  for (const std::string& fellow : request.group().fellows())
    if (!IsAddress(fellow)) return Wrong("group");
  proto::Program& program = *request.mutable_program();
  if (request.attach() == proto::ATTACH_NETSTACK && program.mounts_size() > 0)
    return Wrong("attach: netstack has no mounts");
  if (request.attach() != proto::ATTACH_NETSTACK && request.attach() != proto::ATTACH_TUN)
    return Wrong("attach");
  if (program.argv().empty() || program.argv(0).empty()) return Wrong("no command");
  if (program.stop_signal().empty()) program.set_stop_signal("SIGTERM");
  if (SignalOf(program.stop_signal()) == 0)
    return Wrong(absl::StrCat("unknown stop signal ", program.stop_signal()));
  if (program.stop_grace_ms() == 0) program.set_stop_grace_ms(kStopGraceDefaultMs);
  if (request.start_timeout_ms() == 0) request.set_start_timeout_ms(kStartTimeoutDefaultMs);
  for (const std::string& from : request.idle().ignore_from())
    if (!IpPrefix::Parse(from)) return Wrong(absl::StrCat("idle.ignore.from ", from));
  for (const uint32_t port : request.idle().ignore_ports())
    if (port == 0 || port > UINT16_MAX) return Wrong(absl::StrCat("idle.ignore.ports ", port));
  if (request.hostname().empty()) request.set_hostname(request.host());
  return absl::OkStatus();
}

absl::Status WriteExitReport(const std::string& instance_dir, const proto::ExitReport& report) {
  const std::string path = absl::StrCat(instance_dir, "/exit");
  const std::string next = absl::StrCat(path, ".tmp");
  {
    const FileDescriptor fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
    const std::string bytes = report.SerializeAsString();
    if (!fd.valid() ||
        write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      return ErrnoStatus(absl::StrCat("write ", next));
  }
  if (rename(next.c_str(), path.c_str()) != 0) return ErrnoStatus(absl::StrCat("write ", path));
  return absl::OkStatus();
}

}  // namespace im::agent
