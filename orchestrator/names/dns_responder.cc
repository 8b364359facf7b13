#include "orchestrator/names/dns_responder.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace im::names {
namespace {

// RFC 1035 4.1.1.
constexpr size_t kHeaderBytes = 12;
constexpr uint16_t kFlagResponse = 0x8000;
constexpr uint16_t kOpcodeMask = 0x7800;
constexpr uint16_t kFlagAuthoritative = 0x0400;
constexpr uint16_t kFlagRecursionDesired = 0x0100;
constexpr uint16_t kFlagRecursionAvailable = 0x0080;

constexpr uint16_t kNoError = 0;
constexpr uint16_t kFormatError = 1;
constexpr uint16_t kServerFailure = 2;
constexpr uint16_t kNameError = 3;
constexpr uint16_t kNotImplemented = 4;
constexpr uint16_t kRefused = 5;
constexpr uint16_t kBadVersion = 16;  // RFC 6891 9; the upper bits go to OPT

constexpr uint16_t kTypeA = 1;
constexpr uint16_t kTypePtr = 12;
constexpr uint16_t kTypeAaaa = 28;
constexpr uint16_t kTypeOpt = 41;
constexpr uint16_t kTypeAny = 255;
constexpr uint16_t kClassIn = 1;
constexpr uint16_t kClassAny = 255;

constexpr size_t kLabelBytesMax = 63;
constexpr size_t kNameBytesMax = 255;  // on the wire
constexpr uint16_t kUdpPayloadBytes = 1232;

// Reads with bounds; once something was missing, ok() stays false.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  size_t offset() const { return offset_; }
  uint8_t U8() { return Need(1) ? bytes_[offset_++] : 0; }
  uint16_t U16() {
    if (!Need(2)) return 0;
    offset_ += 2;
    return static_cast<uint16_t>(bytes_[offset_ - 2] << 8 | bytes_[offset_ - 1]);
  }
  uint32_t U32() {
    const uint32_t high = U16();
    return high << 16 | U16();
  }
  std::span<const uint8_t> Bytes(size_t n) {
    if (!Need(n)) return {};
    offset_ += n;
    return bytes_.subspan(offset_ - n, n);
  }

 private:
  bool Need(size_t n) {
    if (bytes_.size() - offset_ < n) ok_ = false;
    return ok_;
  }
  std::span<const uint8_t> bytes_;
  size_t offset_ = 0;
  bool ok_ = true;
};

void PutU16(std::vector<uint8_t>& out, uint16_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void PutName(std::vector<uint8_t>& out, absl::string_view name) {
  for (absl::string_view label : absl::StrSplit(name, '.', absl::SkipEmpty())) {
    label = label.substr(0, kLabelBytesMax);
    out.push_back(static_cast<uint8_t>(label.size()));
    out.insert(out.end(), label.begin(), label.end());
  }
  out.push_back(0);
}

// A question's name, in lower case and with dots; compression has no place in
// it. A dot inside a label would be taken for a border: such names are not of
// ours, so they become one that cannot match.
std::optional<std::string> ReadName(Reader& in) {
  std::string name;
  size_t wire_bytes = 1;
  while (true) {
    const uint8_t size = in.U8();
    if (!in.ok()) return std::nullopt;
    if (size == 0) return name;
    wire_bytes += size + 1u;
    if (size > kLabelBytesMax || wire_bytes > kNameBytesMax) return std::nullopt;
    if (!name.empty()) name += '.';
    for (uint8_t c : in.Bytes(size)) name += c == '.' ? '\0' : absl::ascii_tolower(c);
    if (!in.ok()) return std::nullopt;
  }
}

// "3.0.77.10.in-addr.arpa" → 10.77.0.3; nullopt for what is not a whole
// reverse name.
std::optional<IpAddress> ParseReverse(absl::string_view name) {
  if (absl::ConsumeSuffix(&name, ".in-addr.arpa")) {
    const std::vector<absl::string_view> labels = absl::StrSplit(name, '.');
    if (labels.size() != 4) return std::nullopt;
    uint32_t address = 0;
    for (int i = 3; i >= 0; --i) {
      uint32_t octet = 0;
      if (!absl::SimpleAtoi(labels[i], &octet) || octet > 255) return std::nullopt;
      address = address << 8 | octet;
    }
    return IpAddress::V4(address);
  }
  if (!absl::ConsumeSuffix(&name, ".ip6.arpa") || name.size() != 63) return std::nullopt;
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < 32; ++i) {
    const char digit = name[62 - 2 * i];
    if (!absl::ascii_isxdigit(digit) || (i > 0 && name[63 - 2 * i] != '.')) return std::nullopt;
    const int value = absl::ascii_isdigit(digit) ? digit - '0' : digit - 'a' + 10;
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | value);
  }
  return IpAddress::FromBytes(bytes);
}

}  // namespace

struct DnsResponder::Question {
  std::string name;
  uint16_t type = 0;
};

struct DnsResponder::Reply {
  uint16_t code = kNoError;
  uint16_t type = 0;  // of the answer
  std::vector<uint8_t> data;  // empty: no answer record
  bool passing = false;       // the name may be gone at any time
};

DnsResponder::DnsResponder(NameIndex& names, absl::string_view domain, const IpPrefix& network,
                           const DualStack& dual_stack)
    : names_(names),
      domain_(absl::AsciiStrToLower(domain)),
      network_(network),
      dual_stack_(dual_stack) {}

std::string DnsResponder::FindReverse(absl::string_view name) {
  const std::optional<IpAddress> address = ParseReverse(name);
  return address ? names_.FindName(dual_stack_.Plain(*address)) : std::string();
}

std::optional<absl::string_view> DnsResponder::HostPart(absl::string_view name) const {
  if (!absl::StrContains(name, '.')) return name == domain_ ? absl::string_view() : name;
  if (domain_.empty()) return std::nullopt;
  if (name == domain_) return absl::string_view();
  if (!absl::ConsumeSuffix(&name, domain_) || !absl::ConsumeSuffix(&name, "."))
    return std::nullopt;
  return name;
}

DnsResponder::Reply DnsResponder::Resolve(const Question& question) {
  if (absl::EndsWith(question.name, ".arpa")) {
    const std::string host = FindReverse(question.name);
    if (host.empty()) return {.code = kNameError};
    if (question.type != kTypePtr && question.type != kTypeAny) return {};
    Reply reply{.type = kTypePtr, .passing = names_.IsPassing(host)};
    PutName(reply.data, domain_.empty() ? host : absl::StrCat(host, ".", domain_));
    return reply;
  }
  const std::optional<absl::string_view> host = HostPart(question.name);
  if (!host) return {.code = kNameError};
  if (host->empty()) return {};  // the domain itself: exists, has no address
  std::optional<IpAddress> address = names_.Find(*host);
  if (!address) return {.code = kNameError};
  if (question.type == kTypeAaaa && dual_stack_.on() && address->is_v4())
    address = dual_stack_.ToV6(*address);
  const uint16_t type = address->is_v4() ? kTypeA : kTypeAaaa;
  if (question.type != type && question.type != kTypeAny) return {};
  const std::span<const uint8_t> bytes = address->bytes();
  return {.type = type,
          .data = {bytes.begin(), bytes.end()},
          .passing = names_.IsPassing(*host)};
}

Knower DnsResponder::WhoKnows(std::span<const uint8_t> query) {
  Reader in(query);
  in.U16();
  const uint16_t flags = in.U16();
  const uint16_t questions = in.U16();
  in.Bytes(kHeaderBytes - 6);
  const std::optional<std::string> name = ReadName(in);
  in.U32();
  if (!in.ok() || !name || questions != 1 || (flags & (kFlagResponse | kOpcodeMask)) != 0)
    return Knower::kHere;
  if (absl::EndsWith(*name, ".arpa")) {
    const std::optional<IpAddress> address = ParseReverse(*name);
    if (!address) return Knower::kElsewhere;
    const IpAddress plain = dual_stack_.Plain(*address);
    if (!names_.FindName(plain).empty()) return Knower::kHere;
    return network_.Contains(plain) ? Knower::kImd : Knower::kElsewhere;
  }
  const std::optional<absl::string_view> host = HostPart(*name);
  if (!host) return Knower::kElsewhere;
  // The names that come and go have one label.
  if (host->empty() || absl::StrContains(*host, '.')) return Knower::kHere;
  return names_.Find(*host) ? Knower::kHere : Knower::kImd;
}

std::optional<std::vector<uint8_t>> DnsResponder::Answer(std::span<const uint8_t> query,
                                                         bool may_resolve) {
  Reader in(query);
  const uint16_t id = in.U16();
  const uint16_t flags = in.U16();
  const uint16_t questions = in.U16();
  const uint16_t answers = in.U16();
  const uint16_t authorities = in.U16();
  const uint16_t additionals = in.U16();
  if (!in.ok() || (flags & kFlagResponse) != 0) return std::nullopt;

  uint16_t code = kNoError;
  Question question;
  size_t question_end = kHeaderBytes;
  bool edns = false;
  if ((flags & kOpcodeMask) != 0) {
    code = kNotImplemented;
  } else if (questions != 1 || answers != 0 || authorities != 0) {
    code = kFormatError;
  } else {
    const std::optional<std::string> name = ReadName(in);
    question.type = in.U16();
    const uint16_t question_class = in.U16();
    if (!name || !in.ok()) {
      code = kFormatError;
    } else {
      question.name = *name;
      question_end = in.offset();
      if (question_class != kClassIn && question_class != kClassAny) code = kRefused;
    }
  }
  // Of the additional records only OPT has a meaning, and it stands first in
  // what resolvers send; others (TSIG) are not looked at.
  if (code == kNoError && additionals > 0) {
    const std::optional<std::string> owner = ReadName(in);
    const uint16_t type = in.U16();
    in.U16();  // the sender's payload size: our answers are below the least
    const uint32_t ttl = in.U32();
    in.Bytes(in.U16());
    if (!owner || !in.ok()) {
      code = kFormatError;
    } else if (type == kTypeOpt) {
      edns = true;
      if ((ttl >> 16 & 0xff) != 0) code = kBadVersion;
    }
  }

  Reply reply{.code = code};
  if (code == kNoError) reply = may_resolve ? Resolve(question) : Reply{.code = kServerFailure};
  std::vector<uint8_t> out;
  out.reserve(question_end + 64 + reply.data.size());
  PutU16(out, id);
  PutU16(out, static_cast<uint16_t>(kFlagResponse | (flags & (kOpcodeMask | kFlagRecursionDesired)) |
                                    kFlagAuthoritative | kFlagRecursionAvailable |
                                    (reply.code & 0xf)));
  PutU16(out, question_end > kHeaderBytes ? 1 : 0);
  PutU16(out, reply.data.empty() ? 0 : 1);
  PutU16(out, 0);
  PutU16(out, edns ? 1 : 0);
  out.insert(out.end(), query.begin() + kHeaderBytes, query.begin() + question_end);
  if (!reply.data.empty()) {
    PutU16(out, 0xc000 | kHeaderBytes);  // the question's name
    PutU16(out, reply.type);
    PutU16(out, kClassIn);
    PutU16(out, 0);
    PutU16(out, reply.passing ? 0 : kDnsTtlSeconds);
    PutU16(out, static_cast<uint16_t>(reply.data.size()));
    out.insert(out.end(), reply.data.begin(), reply.data.end());
  }
  if (edns) {
    out.push_back(0);
    PutU16(out, kTypeOpt);
    PutU16(out, kUdpPayloadBytes);
    out.push_back(static_cast<uint8_t>(reply.code >> 4));
    out.push_back(0);
    PutU16(out, 0);
    PutU16(out, 0);
  }
  return out;
}

}  // namespace im::names
