#include "orchestrator/names/dns_responder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/agent.pb.h"

namespace im::names {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint16_t kA = 1, kPtr = 12, kMx = 15, kAaaa = 28, kAny = 255;

std::string Encoded(const std::vector<std::pair<std::string, std::string>>& hosts) {
  proto::NameTable table;
  for (const auto& [name, address] : hosts) {
    proto::HostName* host = table.add_hosts();
    host->set_name(name);
    const IpAddress parsed = *IpAddress::Parse(address);
    host->set_address(parsed.ToBytes());
  }
  return table.SerializeAsString();
}

Bytes Query(absl::string_view name, uint16_t type, uint16_t qclass = 1) {
  Bytes out = {0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0};
  for (absl::string_view label : absl::StrSplit(name, '.', absl::SkipEmpty())) {
    out.push_back(static_cast<uint8_t>(label.size()));
    out.insert(out.end(), label.begin(), label.end());
  }
  for (uint8_t byte : {uint8_t{0}, uint8_t(type >> 8), uint8_t(type), uint8_t(qclass >> 8),
                       uint8_t(qclass)})
    out.push_back(byte);
  return out;
}

Bytes WithOpt(Bytes query, uint8_t version = 0) {
  query[11] = 1;
  for (uint8_t byte : {0, 0, 41, 0x10, 0, 0, int{version}, 0, 0, 0, 0}) query.push_back(byte);
  return query;
}

int Code(const Bytes& answer) { return answer[3] & 0xf; }
int Answers(const Bytes& answer) { return answer[6] << 8 | answer[7]; }

class DnsResponderTest : public testing::Test {
 protected:
  Bytes Ask(const Bytes& query) {
    auto answer = responder_.Answer(query);
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(Bytes(12));
  }
  NameIndex names_{Encoded({{"web", "10.77.0.3"},
                            {"Db", "10.77.0.5"},
                            {"app", "10.77.0.4"},
                            {"six", "fd00::77"}})};
  DnsResponder responder_{names_, "Shop.im", *IpPrefix::Parse("10.77.0.0/16")};
};

TEST_F(DnsResponderTest, TellsWhoKnowsWhatItDoesNot) {
  for (const char* name : {"debian.org", "shop.im.org", "xshop.im", "9.0.78.10.in-addr.arpa",
                           "77.10.in-addr.arpa", "a.ip6.arpa"})
    EXPECT_EQ(responder_.WhoKnows(Query(name, kA)), Knower::kElsewhere) << name;
  for (const char* name : {"nobody", "nobody.Shop.IM", "9.0.77.10.in-addr.arpa"})
    EXPECT_EQ(responder_.WhoKnows(Query(name, kAaaa)), Knower::kImd) << name;
  // What a search list makes of names of the world's is no guest's.
  for (const char* name : {"db", "DB.shop.im", "shop.im", "", "debian.org.shop.im",
                           "5.0.77.10.in-addr.arpa"})
    EXPECT_EQ(responder_.WhoKnows(Query(name, kA)), Knower::kHere) << name;
  // What is no query at all is not passed on either.
  Bytes response = Query("debian.org", kA);
  response[2] |= 0x80;
  EXPECT_EQ(responder_.WhoKnows(response), Knower::kHere);
  Bytes cut = Query("debian.org", kA);
  cut.pop_back();
  EXPECT_EQ(responder_.WhoKnows(cut), Knower::kHere);
  EXPECT_EQ(responder_.WhoKnows(Bytes(5)), Knower::kHere);
}

class OneGuest final : public NameIndex::Passing {
 public:
  std::optional<IpAddress> Find(absl::string_view name) const override {
    return name == "driver" && here ? std::optional(address) : std::nullopt;
  }
  std::string FindName(const IpAddress& wanted) const override {
    return wanted == address && here ? "driver" : "";
  }
  const IpAddress address = *IpAddress::Parse("10.77.0.254");
  bool here = true;
};

TEST_F(DnsResponderTest, AGuestIsKnownWhileItIsThereAndNotKeptByWhoAsked) {
  OneGuest guest;
  names_.SetPassing(&guest);
  for (const char* name : {"driver", "Driver.shop.im"}) {
    EXPECT_EQ(responder_.WhoKnows(Query(name, kA)), Knower::kHere) << name;
    const Bytes answer = Ask(Query(name, kA));
    ASSERT_EQ(Answers(answer), 1) << name;
    const Bytes tail(answer.end() - 10, answer.end());
    EXPECT_THAT(tail, testing::ElementsAre(0, 0, 0, 0, 0, 4, 10, 77, 0, 254)) << "a TTL of 0";
  }
  EXPECT_EQ(Answers(Ask(Query("254.0.77.10.in-addr.arpa", kPtr))), 1);
  EXPECT_EQ(Answers(Ask(Query("driver", kAaaa))), 0);
  EXPECT_EQ(Code(Ask(Query("driver", kAaaa))), 0) << "no data";
  guest.here = false;
  EXPECT_EQ(Code(Ask(Query("driver", kA))), 3);
  EXPECT_EQ(Code(Ask(Query("254.0.77.10.in-addr.arpa", kPtr))), 3);
  EXPECT_EQ(Answers(Ask(Query("db", kA))), 1) << "hosts stay";
}

TEST_F(DnsResponderTest, AnswersShortAndFullNamesInAnyCase) {
  for (const char* name : {"db", "DB", "db.shop.im", "dB.ShOp.IM"}) {
    const Bytes answer = Ask(Query(name, kA));
    EXPECT_EQ(Code(answer), 0) << name;
    ASSERT_EQ(Answers(answer), 1) << name;
    EXPECT_EQ(answer[0], 0x12);
    EXPECT_EQ(answer[1], 0x34);
    EXPECT_EQ(answer[2] & 0x81, 0x81) << "a response, RD copied";
    const Bytes tail(answer.end() - 16, answer.end());
    EXPECT_THAT(tail, testing::ElementsAre(0xc0, 12, 0, 1, 0, 1, 0, 0, 0, kDnsTtlSeconds, 0, 4, 10,
                                           77, 0, 5));
  }
}

TEST_F(DnsResponderTest, UnknownNamesDoNotExist) {
  for (const char* name : {"nobody", "nobody.shop.im", "db.other.im", "db.shop.im.com", "a.db",
                           "xshop.im", "example.com"}) {
    EXPECT_EQ(Code(Ask(Query(name, kA))), 3) << name;
    EXPECT_EQ(Answers(Ask(Query(name, kAaaa))), 0) << name;
  }
}

TEST_F(DnsResponderTest, AFailureIsOneOfTheQuestion) {
  for (const Bytes& query : {Query("nobody", kA), Query("web", kA), WithOpt(Query("nobody", kAaaa))}) {
    const Bytes answer = responder_.Fail(query).value();
    EXPECT_EQ(Code(answer), 2);
    EXPECT_EQ(Answers(answer), 0);
    EXPECT_EQ(answer[0] << 8 | answer[1], 0x1234);
    EXPECT_EQ(answer[11], query[11]) << "with EDNS as it was asked";
    EXPECT_TRUE(std::equal(query.begin() + 12, query.begin() + 21, answer.begin() + 12));
  }
  EXPECT_EQ(responder_.Fail(Bytes(5)), std::nullopt);
}

TEST_F(DnsResponderTest, WithADualStackEachHostHasBothAddresses) {
  const DualStack dual_stack(*IpPrefix::Parse("fd00:77::/96"));
  proto::NameTable replicas;
  proto::ReplicaNames& zk = *replicas.add_replicas();
  zk.set_prefix("zk");
  zk.set_first(1);
  zk.set_count(3);
  zk.set_first_address(std::string("\x0a\x4d\x00\x09", 4));
  NameIndex names(Encoded({{"db", "10.77.0.5"}}) + replicas.SerializeAsString());
  DnsResponder dual(names, "shop.im", *IpPrefix::Parse("10.77.0.0/16"), dual_stack);
  const auto ask = [&](absl::string_view name, uint16_t type) {
    return dual.Answer(Query(name, type)).value_or(Bytes(12));
  };
  const auto tail = [](const Bytes& answer, size_t n) { return Bytes(answer.end() - n, answer.end()); };
  for (const char* name : {"db", "DB.shop.im"}) {
    ASSERT_EQ(Answers(ask(name, kAaaa)), 1) << name;
    EXPECT_THAT(tail(ask(name, kAaaa), 16), testing::ElementsAre(0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0,
                                                                0, 0, 10, 77, 0, 5));
    EXPECT_THAT(tail(ask(name, kA), 4), testing::ElementsAre(10, 77, 0, 5));
    EXPECT_EQ(Answers(ask(name, kAny)), 1);
    EXPECT_EQ(Answers(ask(name, kMx)), 0);
  }
  EXPECT_THAT(tail(ask("zk-3", kAaaa), 4), testing::ElementsAre(10, 77, 0, 11));
  EXPECT_EQ(Code(ask("nobody", kAaaa)), 3);
  // 5.0.77.10 in hexadecimal digits, the last first.
  const std::string zeros = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.0.0.0.0.d.f.ip6.arpa";
  EXPECT_EQ(Answers(ask("5.0.0.0.d.4.a.0." + zeros, kPtr)), 1);
  EXPECT_EQ(Code(ask("6.0.0.0.d.4.a.0." + zeros, kPtr)), 3);
  const Bytes host = Query("5.0.0.0.d.4.a.0." + zeros, kPtr);
  EXPECT_EQ(dual.WhoKnows(host), Knower::kHere);
  EXPECT_EQ(dual.WhoKnows(Query("6.0.0.0.d.4.a.0." + zeros, kPtr)), Knower::kImd) << "a guest's?";
  EXPECT_EQ(responder_.WhoKnows(host), Knower::kElsewhere);
}

TEST_F(DnsResponderTest, OtherTypesOfAKnownNameHaveNoData) {
  for (uint16_t type : {kAaaa, kMx}) {
    const Bytes answer = Ask(Query("db", type));
    EXPECT_EQ(Code(answer), 0) << type;
    EXPECT_EQ(Answers(answer), 0) << type;
  }
  EXPECT_EQ(Code(Ask(Query("shop.im", kA))), 0);
  EXPECT_EQ(Answers(Ask(Query("shop.im", kA))), 0);
}

TEST_F(DnsResponderTest, AnswersIpv6) {
  const Bytes answer = Ask(Query("six", kAaaa));
  ASSERT_EQ(Answers(answer), 1);
  EXPECT_EQ(answer.back(), 0x77);
  EXPECT_EQ(Answers(Ask(Query("six", kA))), 0);
  EXPECT_EQ(Answers(Ask(Query("six", kAny))), 1);
}

TEST_F(DnsResponderTest, AnswersReverseNames) {
  const Bytes answer = Ask(Query("4.0.77.10.in-addr.arpa", kPtr));
  ASSERT_EQ(Answers(answer), 1);
  const Bytes name(answer.end() - 13, answer.end());
  EXPECT_THAT(name, testing::ElementsAre(3, 'a', 'p', 'p', 4, 's', 'h', 'o', 'p', 2, 'i', 'm', 0));
  const Bytes six = Ask(Query(
      "7.7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", kPtr));
  EXPECT_EQ(Answers(six), 1);
}

TEST_F(DnsResponderTest, IncompleteOrForeignReverseNamesDoNotExist) {
  for (const char* name : {"9.0.77.10.in-addr.arpa", "77.10.in-addr.arpa", "in-addr.arpa", "x.arpa",
                           "256.0.77.10.in-addr.arpa", "a.0.77.10.in-addr.arpa", "ip6.arpa",
                           "7.7.ip6.arpa"})
    EXPECT_EQ(Code(Ask(Query(name, kPtr))), 3) << name;
}

TEST_F(DnsResponderTest, ToleratesEdnsAndRefusesUnknownVersions) {
  const Bytes answer = Ask(WithOpt(Query("db", kA)));
  EXPECT_EQ(Code(answer), 0);
  EXPECT_EQ(Answers(answer), 1);
  EXPECT_EQ(answer[11], 1) << "an OPT of ours";
  EXPECT_EQ(answer[answer.size() - 9], 41);
  const Bytes bad = Ask(WithOpt(Query("db", kA), 1));
  EXPECT_EQ(Answers(bad), 0);
  EXPECT_EQ(bad[bad.size() - 6], 1) << "BADVERS is 16: the upper byte is in OPT";
}

TEST_F(DnsResponderTest, MalformedQueriesGetFormatErrorOrNothing) {
  Bytes two = Query("db", kA);
  two[5] = 2;
  EXPECT_EQ(Code(Ask(two)), 1);
  Bytes none = Query("db", kA);
  none[5] = 0;
  EXPECT_EQ(Code(Ask(none)), 1);
  EXPECT_EQ(Ask(none).size(), 12u);
  Bytes compressed = {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1};
  EXPECT_EQ(Code(Ask(compressed)), 1);
  const Bytes whole = WithOpt(Query("db.shop.im", kA));
  for (size_t size = 12; size < whole.size(); ++size)
    EXPECT_EQ(Code(Ask(Bytes(whole.begin(), whole.begin() + size))), 1) << size;
  for (size_t size = 0; size < 12; ++size)
    EXPECT_FALSE(responder_.Answer({whole.data(), size}).has_value()) << size;
  Bytes response = Query("db", kA);
  response[2] |= 0x80;
  EXPECT_FALSE(responder_.Answer(response).has_value());
}

TEST_F(DnsResponderTest, NamesBeyondTheWireLimitAreMalformed) {
  std::string longest;
  for (int i = 0; i < 5; ++i) absl::StrAppend(&longest, std::string(60, 'a'), ".");
  EXPECT_EQ(Code(Ask(Query(longest, kA))), 1);
}

TEST_F(DnsResponderTest, OtherOpcodesAndClassesAreRefused) {
  Bytes notify = Query("db", kA);
  notify[2] |= 4 << 3;
  EXPECT_EQ(Code(Ask(notify)), 4);
  EXPECT_EQ(Code(Ask(Query("db", kA, 3))), 5);
}

TEST_F(DnsResponderTest, ADotInsideALabelDoesNotMakeTwoLabels) {
  Bytes query = Query("dbxshop.im", kA);
  query[12 + 1 + 2] = '.';
  EXPECT_EQ(Code(Ask(query)), 3);
}

TEST(NameIndexTest, TenThousandNamesAreFoundBothWays) {
  std::vector<std::pair<std::string, std::string>> hosts;
  for (int i = 0; i < 10'000; ++i)
    hosts.emplace_back(absl::StrCat("host-", (i * 7919) % 10'000),
                       absl::StrCat("10.77.", i / 250, ".", i % 250 + 1));
  NameIndex index(Encoded(hosts));
  EXPECT_EQ(index.size(), 10'000u);
  for (int i = 0; i < 10'000; i += 37) {
    const IpAddress address = *IpAddress::Parse(hosts[i].second);
    EXPECT_EQ(index.Find(hosts[i].first), address);
    EXPECT_EQ(index.FindName(address), hosts[i].first);
  }
  EXPECT_FALSE(index.Find("host-10000").has_value());
}

TEST(NameIndexTest, NamesOfReplicasAreComputed) {
  proto::NameTable table;
  const auto add = [&](const char* prefix, uint32_t first, const char* address, uint32_t count) {
    proto::ReplicaNames& replicas = *table.add_replicas();
    replicas.set_prefix(prefix);
    replicas.set_first(first);
    const IpAddress parsed = *IpAddress::Parse(address);
    replicas.set_first_address(parsed.ToBytes());
    replicas.set_count(count);
  };
  add("zk", 1, "10.64.0.2", 7);
  add("zk", 8, "10.64.0.10", 99'993);  // 10.64.0.9 is somebody else's
  add("zk-a", 1, "10.80.0.1", 1);
  add("", 1, "10.90.0.1", 1);
  add("wraps", 2, "10.91.0.1", UINT32_MAX);
  NameIndex index(Encoded({{"fixed", "10.64.0.9"}, {"zk", "10.64.0.2"}}) + table.SerializeAsString());
  EXPECT_EQ(index.size(), 100'003u);
  const std::pair<const char*, const char*> kFound[] = {
      {"zk-1", "10.64.0.2"},  {"zk-7", "10.64.0.8"},    {"zk-8", "10.64.0.10"},
      {"fixed", "10.64.0.9"}, {"zk-a-1", "10.80.0.1"}, {"zk-100000", "10.65.134.162"}};
  for (const auto& [name, address] : kFound) {
    EXPECT_EQ(index.Find(name), IpAddress::Parse(address)) << name;
    EXPECT_EQ(index.FindName(*IpAddress::Parse(address)), name);
  }
  EXPECT_EQ(index.Find("zk"), IpAddress::Parse("10.64.0.2")) << "the service is its first replica";
  for (const char* name : {"zk-0", "zk-01", "zk-100001", "zk-", "-1", "zk-a-2", "zk-b-1", "wraps-2",
                           "zk-4294967297"})
    EXPECT_EQ(index.Find(name), std::nullopt) << name;
  EXPECT_EQ(index.FindName(*IpAddress::Parse("10.65.134.163")), "");
}

TEST(NameIndexTest, WhatCannotBeDecodedIsLeftOut) {
  std::string encoded = Encoded({{"a", "10.0.0.1"}, {"", "10.0.0.2"}, {"b", "10.0.0.3"}});
  NameIndex whole(encoded);
  EXPECT_EQ(whole.size(), 2u);
  NameIndex cut(encoded.substr(0, encoded.size() - 1));
  EXPECT_EQ(cut.size(), 1u);
  NameIndex garbage("\x0a\xff\xff\xff\xff\x0f garbage");
  EXPECT_EQ(garbage.size(), 0u);
}

}  // namespace
}  // namespace im::names
