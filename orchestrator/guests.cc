#include "orchestrator/guests.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "orchestrator/host_setup.h"

namespace im::orchestrator {
namespace {

// A DNS label in lower case: it becomes a hostname and a directory.
bool IsName(absl::string_view name) {
  if (name.empty() || name.size() > kGuestNameBytesMax) return false;
  if (name.front() == '-' || name.back() == '-') return false;
  for (const char c : name) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '-') return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<HostId> Guests::Add(const std::string& name, OnEnd on_end, Instant now,
                                   HostTable& hosts) {
  if (guests_.size() >= kGuestsMax) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kGuestsMax, " guests"));
  }
  std::string chosen = name;
  if (chosen.empty()) {
    do {
      chosen = absl::StrCat("run-", next_number_++);
    } while (!CheckFree(chosen, hosts).ok());
  }
  if (!IsName(chosen)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", chosen, "\" is no host name (a-z, 0-9 and -, at most ", kGuestNameBytesMax, ")"));
  }
  IM_RETURN_IF_ERROR(CheckFree(chosen, hosts));
  const std::optional<IpAddress> address = addresses_.TakeHighest();
  if (!address.has_value()) return absl::ResourceExhaustedError("the network has no address left");
  absl::StatusOr<HostId> host = AddTo(hosts, chosen, *address, std::move(on_end), now);
  if (!host.ok()) addresses_.Release(*address);
  return host;
}

absl::Status Guests::CheckFree(const std::string& name, const HostTable& hosts) {
  const std::optional<HostId> host = hosts.FindByName(name);
  if (!host.has_value() && !names_.Find(name).has_value()) return absl::OkStatus();
  const absl::string_view whose = host.has_value() && hosts[*host].guest
                                      ? "of a program by im run, which is still there"
                                  : names_.IsPassing(name) ? "of a peer (im peer list)"
                                                           : "in cluster.yaml";
  return absl::AlreadyExistsError(
      absl::StrCat("the name ", name, " is taken: it is ", whose, "; choose another --name"));
}

absl::StatusOr<HostId> Guests::AddSaved(const std::string& name, const IpAddress& address,
                                        Instant now, HostTable& hosts) {
  if (!IsName(name)) return absl::InvalidArgumentError("not a host name");
  if (!addresses_.Reserve(address)) {
    return absl::AlreadyExistsError(absl::StrCat(address.ToString(), " is not free"));
  }
  absl::StatusOr<HostId> host = AddTo(hosts, name, address, nullptr, now);
  if (!host.ok()) addresses_.Release(address);
  return host;
}

absl::StatusOr<HostId> Guests::AddTo(HostTable& hosts, const std::string& name,
                                     const IpAddress& address, OnEnd on_end, Instant now) {
  HostConfig config;
  config.name = name;
  config.address = address;
  config.guest = true;
  config.policy.start_timeout = kGuestStartTimeout;
  config.policy.release_after = std::nullopt;
  IM_ASSIGN_OR_RETURN(const HostId host, hosts.Add(config, now));
  guests_[host] = {address, std::move(on_end)};
  return host;
}

Guests::OnEnd Guests::TakeOnEnd(HostId host) {
  const auto it = guests_.find(host);
  return it == guests_.end() ? nullptr : std::exchange(it->second.on_end, nullptr);
}

void Guests::Remove(HostId host) {
  const auto it = guests_.find(host);
  if (it == guests_.end()) return;
  addresses_.Release(it->second.address);
  guests_.erase(it);
}

}  // namespace im::orchestrator
