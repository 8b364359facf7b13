#include "bench/user_network.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {
namespace {

// What containers get of both by default.
constexpr char kUserMtu[] = "65520";
constexpr char kTap[] = "tap0";
// What stands for the outer loopback: slirp4netns has its own, pasta ours, of
// TEST-NET-1 (RFC 5737).
constexpr char kSlirpGateway[] = "10.0.2.2";
constexpr char kPastaGateway[] = "192.0.2.254";
constexpr char kPastaOuter[] = "192.0.2.1/24";
constexpr char kPastaGuest[] = "192.0.2.7";

// Routes of a namespace as proc(5) has them.
bool HasDefaultRoute(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/net/route"));
  std::string interface, destination;
  for (std::string line; std::getline(file, line);) {
    if (std::istringstream(line) >> interface >> destination && destination == "00000000") {
      return true;
    }
  }
  return false;
}

}  // namespace

const std::vector<std::string>& UserNetwork::Programs() {
  static const auto* const programs = new std::vector<std::string>{"slirp4netns", "pasta"};
  return *programs;
}

absl::StatusOr<std::unique_ptr<UserNetwork>> UserNetwork::Up(const std::string& program,
                                                             const std::string& peer) {
  std::unique_ptr<UserNetwork> network(new UserNetwork());
  IM_RETURN_IF_ERROR(network->MakeNamespaces(peer));
  auto argv = program == "pasta" ? network->Pasta() : network->Slirp4netns();
  if (!argv.ok()) return argv.status();
  IM_ASSIGN_OR_RETURN(Process carrier, network->StartFar(*argv));
  network->carriers_.push_back(std::move(carrier));
  IM_RETURN_IF_ERROR(Await(absl::StrCat("a default route by ", program),
                           [&] { return HasDefaultRoute(network->near_pid()); }));
  return network;
}

UserNetwork::~UserNetwork() {
  if (name_of_namespace_.empty()) return;
  umount2(name_of_namespace_.c_str(), MNT_DETACH);
  std::error_code ignored;
  std::filesystem::remove(name_of_namespace_, ignored);
}

absl::StatusOr<std::vector<std::string>> UserNetwork::Slirp4netns() {
  server_ = kSlirpGateway;
  return std::vector<std::string>{"slirp4netns", "--configure", absl::StrCat("--mtu=", kUserMtu),
                                  absl::StrCat(near_pid()), kTap};
}

absl::StatusOr<std::vector<std::string>> UserNetwork::Pasta() {
  server_ = kPastaGateway;
  // It gives up the right to look at another process before it opens its
  // namespace, and wants to see a device to the outside.
  name_of_namespace_ = std::filesystem::temp_directory_path() / "im-bench-XXXXXX";
  if (!FileDescriptor(mkostemp(name_of_namespace_.data(), O_CLOEXEC)).valid()) {
    return ErrnoStatus("a file " + name_of_namespace_);
  }
  if (mount(absl::StrCat("/proc/", near_pid(), "/ns/net").c_str(), name_of_namespace_.c_str(),
            nullptr, MS_BIND, nullptr) != 0) {
    return ErrnoStatus("a name for a namespace at " + name_of_namespace_);
  }
  constexpr char kOut[] = "out0", kPeerOfOut[] = "out1";
  IM_RETURN_IF_ERROR(
      RunAll({AtFar({"ip", "link", "add", kOut, "type", "veth", "peer", "name", kPeerOfOut}),
              AtFar({"ip", "address", "add", kPastaOuter, "dev", kOut}),
              AtFar({"ip", "link", "set", kPeerOfOut, "up"}),
              AtFar({"ip", "link", "set", kOut, "up"})}));
  return std::vector<std::string>{
      "pasta", "--foreground", "--quiet", "--stderr", "--runas", "0", "--config-net",
      "--mtu", kUserMtu, "--address", kPastaGuest, "--netmask", "24", "--gateway", kPastaGateway,
      "--interface", kOut, "--ns-ifname", kTap, "--netns-only", "--netns", name_of_namespace_,
      "--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"};
}

}  // namespace im::bench
