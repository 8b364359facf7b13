// `ports:`: "8080:80", "127.0.0.1:8080:80", or a mapping of target, published
// and host_ip. Without an address a port is published on 127.0.0.1 alone:
// other machines are let in only by someone who says so.

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator {
namespace {

constexpr char kPortHint[] = "ports look like 8080:80 or 127.0.0.1:8080:80";

IpAddress DefaultListenAddress() { return IpAddress::V4(0x7f000001); }

std::optional<uint16_t> ParsePortNumber(absl::string_view text) {
  uint32_t port = 0;
  if (text.size() > 5 || !absl::SimpleAtoi(text, &port) || port == 0 || port > 65535) {
    return std::nullopt;
  }
  return static_cast<uint16_t>(port);
}

std::optional<PublishedPort> ParseShortForm(const std::string& text, SourcePosition at,
                                            DiagnosticSink& sink) {
  absl::string_view rest = text;
  absl::ConsumeSuffix(&rest, "/tcp");
  if (absl::EndsWith(rest, "/udp") || absl::EndsWith(rest, "/sctp")) {
    sink.Warning(at, absl::StrCat("port ", Quote(text), " is not published: only TCP is yet"),
                 "inside the network every protocol works");
    return std::nullopt;
  }
  const auto fail = [&](absl::string_view what) {
    sink.Error(at, absl::StrCat(what, " in port ", Quote(text)), kPortHint);
    return std::nullopt;
  };
  const size_t last = rest.rfind(':');
  if (last == absl::string_view::npos) {
    if (!ParsePortNumber(rest)) return fail("no port number");
    sink.Error(at, absl::StrCat("port ", Quote(text), " does not say which port of this machine"),
               absl::StrCat("write ", rest, ":", rest));
    return std::nullopt;
  }
  if (absl::StrContains(rest, "-")) return fail("ranges are not known");
  PublishedPort port;
  port.at = at;
  const auto target = ParsePortNumber(rest.substr(last + 1));
  if (!target) return fail("no port number from 1 to 65535 behind the last colon");
  port.target = *target;
  const absl::string_view front = rest.substr(0, last);
  const size_t colon = front.rfind(':');
  const auto listen =
      ParsePortNumber(colon == absl::string_view::npos ? front : front.substr(colon + 1));
  if (!listen) return fail("no port number from 1 to 65535");
  port.listen = {DefaultListenAddress(), *listen};
  if (colon != absl::string_view::npos) {
    absl::string_view address = front.substr(0, colon);
    if (absl::ConsumePrefix(&address, "[")) absl::ConsumeSuffix(&address, "]");
    const auto parsed = IpAddress::Parse(address);
    if (!parsed) return fail("no address of this machine");
    port.listen.address = *parsed;
  }
  return port;
}

std::optional<PublishedPort> ParseLongForm(const YamlNode& node, DiagnosticSink& sink) {
  MapReader reader(node, "port", sink);
  const auto target = reader.Integer("target", 1, 65535);
  const auto published = reader.Integer("published", 1, 65535);
  const auto address_text = reader.Text("host_ip");
  const int protocol = reader.Word("protocol", {"tcp", "udp"}).value_or(0);
  reader.Ignore({"mode", "name", "app_protocol"});
  reader.Finish();
  if (protocol != 0) {
    sink.Warning(node.at, "the port is not published: only TCP is yet",
                 "inside the network every protocol works");
    return std::nullopt;
  }
  if (!target || !published) {
    if (node.Find("target") == nullptr || node.Find("published") == nullptr) {
      sink.Error(node.at, "a port needs target (the host's) and published (this machine's)");
    }
    return std::nullopt;
  }
  PublishedPort port;
  port.at = node.at;
  port.target = static_cast<uint16_t>(*target);
  port.listen = {DefaultListenAddress(), static_cast<uint16_t>(*published)};
  if (address_text) {
    const auto parsed = IpAddress::Parse(*address_text);
    if (!parsed) {
      sink.Error(reader.Get("host_ip")->at,
                 absl::StrCat("expected an address of this machine, found ", Quote(*address_text)));
      return std::nullopt;
    }
    port.listen.address = *parsed;
  }
  return port;
}

}  // namespace

std::optional<PublishedPort> ParsePort(const YamlNode& node, DiagnosticSink& sink) {
  if (node.kind == YamlNode::Kind::kMap) return ParseLongForm(node, sink);
  const auto text = ReadText(node, sink);
  return text ? ParseShortForm(*text, node.at, sink) : std::nullopt;
}

}  // namespace im::orchestrator
