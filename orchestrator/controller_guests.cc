// Guests: hosts that exist as long as their `im run` does, which starts the
// agent itself.

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "orchestrator/controller.h"

namespace im::orchestrator {

absl::StatusOr<proto::JoinReply> Controller::Join(const std::string& name,
                                                  absl::string_view command,
                                                  std::function<void(absl::Status)> on_end) {
  if (shutting_down_) return absl::UnavailableError("the cluster goes down");
  IM_ASSIGN_OR_RETURN(const HostId host, guests_.Add(name, std::move(on_end), now(), hosts_));
  const std::string directory = requests_.DirectoryOf(hosts_[host].name);
  const tunnel::PrivateKey key = tunnel::GeneratePrivateKey(random_);
  tunnel::PeerConfig peer;
  peer.public_key = tunnel::DerivePublicKey(key);
  peer.allowed_ips = spec_.dual_stack.HostPrefixes(hosts_[host].address);
  peer.probe_mtu = true;
  absl::Status status = tunnel_.SetPeer(peer);
  if (status.ok() && mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST) {
    status = ErrnoStatus(absl::StrCat("make directory ", directory));
  }
  if (!status.ok()) {
    tunnel_.RemovePeer(peer.public_key);
    guests_.Remove(host);
    activator_.RemoveGuest(host);
    return status;
  }
  const Cause cause = MakeCause(Cause::Kind::kRun, command);
  const uint64_t incarnation = activator_.Expect(host, cause, now());
  Instance& instance = AddInstance(host, incarnation, peer.public_key, cause, /*adopted=*/false);
  instance.provided = false;
  proto::JoinReply reply;
  reply.set_name(instance.id.host);
  reply.set_address(instance.address.ToString());
  if (spec_.dual_stack.on())
    reply.set_address6(spec_.dual_stack.ToV6(instance.address).ToString());
  reply.set_start_request(requests_.ForGuest(instance, key).SerializeAsString());
  return reply;
}

void Controller::Leave(const std::string& name) {
  const std::optional<HostId> host = hosts_.FindByName(name);
  if (!host.has_value() || !hosts_[*host].guest) return;
  (void)guests_.TakeOnEnd(*host);
  if (instances_.contains(*host)) Ended(*host, {Activator::End::Kind::kReleased, "left"});
}

// The client is told to end its agent, which we cannot.
void Controller::EndGuest(HostId host, const absl::Status& why) {
  Guests::OnEnd on_end = guests_.TakeOnEnd(host);
  const uint64_t incarnation = hosts_[host].incarnation;
  loop_.Post([self = self_, host, incarnation, why, on_end = std::move(on_end)] {
    if (on_end) on_end(why);
    if (*self == nullptr || (*self)->Find(host, incarnation) == nullptr) return;
    (*self)->Ended(host, {Activator::End::Kind::kReleased, std::string(why.message())});
  });
}

}  // namespace im::orchestrator
