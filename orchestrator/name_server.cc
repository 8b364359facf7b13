#include "orchestrator/name_server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"

namespace im::orchestrator {
namespace {

constexpr char kResolvConf[] = "/etc/resolv.conf";
constexpr size_t kResolversMax = 3;  // resolv.conf(5): MAXNS
constexpr size_t kResolvConfBytesMax = 64 << 10;
constexpr size_t kAnswerBytesMax = 65'535;

std::string ReadResolvConf() {
  const FileDescriptor file(open(kResolvConf, O_RDONLY | O_CLOEXEC));
  std::string text(kResolvConfBytesMax, '\0');
  const ssize_t n = file.valid() ? read(file.get(), text.data(), text.size()) : 0;
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

}  // namespace

std::vector<Endpoint> ParseResolvConf(absl::string_view text, const IpPrefix& network,
                                      const DualStack& dual_stack) {
  std::vector<Endpoint> resolvers;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.size() < 2 || words[0] != "nameserver") continue;
    // By Endpoint, which knows the scope of link-local addresses.
    std::optional<Endpoint> resolver = Endpoint::Parse(absl::StrCat("[", words[1], "]:53"));
    if (!resolver) resolver = Endpoint::Parse(absl::StrCat(words[1], ":53"));
    if (!resolver || network.Contains(dual_stack.Plain(resolver->address))) continue;
    resolvers.push_back(*resolver);
    if (resolvers.size() == kResolversMax) break;
  }
  return resolvers;
}

NameServer::NameServer(EventLoop& loop, const IpPrefix& network, const DualStack& dual_stack,
                       names::NameIndex& names, absl::string_view domain)
    : loop_(loop),
      network_(network),
      dual_stack_(dual_stack),
      responder_(names, domain, network, dual_stack) {}

absl::StatusOr<std::unique_ptr<NameServer>> NameServer::Open(
    EventLoop& loop, netstack::Stack& stack, const IpAddress& gateway, const IpPrefix& network,
    const DualStack& dual_stack, names::NameIndex& names, absl::string_view domain) {
  std::unique_ptr<NameServer> server(new NameServer(loop, network, dual_stack, names, domain));
  const auto answer = [server = server.get()](const Endpoint& from,
                                              std::span<const uint8_t> query) {
    server->OnQuery(from, query);
  };
  IM_ASSIGN_OR_RETURN(server->udp_, stack.BindUdp({gateway, names::kDnsPort}, answer));
  if (dual_stack.on()) {
    IM_ASSIGN_OR_RETURN(server->udp6_,
                        stack.BindUdp({dual_stack.ToV6(gateway), names::kDnsPort}, answer));
  }
  return server;
}

std::vector<Endpoint> NameServer::Resolvers() const {
  return resolvers_ ? *resolvers_ : ParseResolvConf(ReadResolvConf(), network_, dual_stack_);
}

void NameServer::OnQuery(const Endpoint& asker, std::span<const uint8_t> query) {
  if (responder_.WhoKnows(query) == names::Knower::kElsewhere) {
    if (forwarded_.size() >= kDnsForwardedMax) return;
    std::vector<Endpoint> resolvers = Resolvers();
    if (!resolvers.empty()) {
      forwarded_.push_back({.asker = asker,
                            .query = {query.begin(), query.end()},
                            .resolvers = std::move(resolvers),
                            .socket = {},
                            .watch = {},
                            .timer = {}});
      return Ask(std::prev(forwarded_.end()));
    }
  }
  if (const auto answer = responder_.Answer(query)) SendAnswer(asker, *answer);
}

void NameServer::SendAnswer(const Endpoint& asker, std::span<const uint8_t> answer) {
  // What cannot be sent is as good as lost: it will be asked again.
  (void)(asker.address.is_v4() ? udp_ : udp6_)->SendTo(asker, answer);
}

void NameServer::Ask(Place place) {
  Forwarded& one = *place;
  one.watch = {};
  one.socket.Reset();
  if (one.next == one.resolvers.size()) {
    forwarded_.erase(place);
    return;
  }
  sockaddr_storage address{};
  const Endpoint& resolver = one.resolvers[one.next++];
  const socklen_t size = resolver.ToSockaddr(address);
  one.socket = FileDescriptor(
      socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (one.socket.valid() &&
      connect(one.socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
      send(one.socket.get(), one.query.data(), one.query.size(), MSG_NOSIGNAL) >= 0) {
    one.watch = loop_.WatchFd(one.socket.get(), EPOLLIN, [this, place](uint32_t) {
      OnAnswer(place);
    });
    one.timer = loop_.After(kDnsForwardTime, [this, place] { Ask(place); });
    return;
  }
  IM_LOG(kDebug, "resolver ", resolver.ToString(), ": ",
         std::string(ErrnoStatus("ask").message()));
  one.timer = loop_.After(Duration(0), [this, place] { Ask(place); });
}

void NameServer::OnAnswer(Place place) {
  Forwarded& one = *place;
  std::array<uint8_t, kAnswerBytesMax> bytes;
  const ssize_t n = recv(one.socket.get(), bytes.data(), bytes.size(), 0);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    // Nobody listens there.
    one.timer = loop_.After(Duration(0), [this, place] { Ask(place); });
    return;
  }
  // Not an answer to this question: another one may come.
  if (n < 12 || bytes[0] != one.query[0] || bytes[1] != one.query[1]) return;
  SendAnswer(one.asker, std::span(bytes).first(static_cast<size_t>(n)));
  forwarded_.erase(place);
}

}  // namespace im::orchestrator
