#include "orchestrator/agent/intercept/port_table.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <utility>

namespace im::agent {
namespace {

PortTable::Claim On(const char* endpoint) { return {.local = *Endpoint::Parse(endpoint)}; }

class PortTableTest : public testing::Test {
 protected:
  int Bind(int who, PortTable::Claim claim) { return ports_.Bind(&owners_[who], claim); }
  int Listen(int who, const char* endpoint) {
    return ports_.Listen(&owners_[who], *Endpoint::Parse(endpoint));
  }
  SeededRandom random_{1};
  PortTable ports_{random_};
  char owners_[4];
};

TEST_F(PortTableTest, one_port_of_one_address_has_one_owner) {
  EXPECT_EQ(Bind(0, On("10.0.0.2:80")), 0);
  EXPECT_EQ(Bind(1, On("10.0.0.2:80")), EADDRINUSE);
  EXPECT_EQ(Bind(1, On("127.0.0.1:80")), 0);
  EXPECT_EQ(Bind(2, On("0.0.0.0:80")), EADDRINUSE);
  EXPECT_EQ(Bind(2, On("[::]:80")), EADDRINUSE);
  PortTable::Claim six = On("[::]:80");
  six.v6_only = true;
  EXPECT_EQ(Bind(2, six), 0);
}

TEST_F(PortTableTest, reuse_address_is_good_until_one_listens) {
  PortTable::Claim claim = On("0.0.0.0:80");
  claim.reuse_address = true;
  EXPECT_EQ(Bind(0, claim), 0);
  EXPECT_EQ(Bind(1, claim), 0);
  EXPECT_EQ(Listen(0, "0.0.0.0:80"), 0);
  EXPECT_EQ(Listen(1, "0.0.0.0:80"), EADDRINUSE);
  EXPECT_EQ(Bind(2, claim), EADDRINUSE);
  ports_.StopListening(&owners_[0], claim.local);
  EXPECT_EQ(Listen(1, "0.0.0.0:80"), 0);
}

TEST_F(PortTableTest, reuse_port_is_shared_by_those_who_all_ask) {
  PortTable::Claim claim = On("0.0.0.0:80");
  claim.reuse_port = true;
  EXPECT_EQ(Bind(0, claim), 0);
  EXPECT_EQ(Listen(0, "0.0.0.0:80"), 0);
  EXPECT_EQ(Bind(1, claim), 0);
  EXPECT_EQ(Listen(1, "0.0.0.0:80"), 0);
  EXPECT_EQ(Bind(2, On("0.0.0.0:80")), EADDRINUSE);
}

TEST_F(PortTableTest, port_0_is_a_free_one_and_all_of_them_can_be_had) {
  constexpr int kFree = PortTable::kFreePortsEnd - PortTable::kFreePortsBegin;
  for (int i = 0; i < kFree; ++i) {
    PortTable::Claim claim = On("127.0.0.1:0");
    ASSERT_EQ(ports_.Bind(&owners_[0], claim), 0);
    EXPECT_GE(claim.local.port, PortTable::kFreePortsBegin);
    EXPECT_LT(claim.local.port, PortTable::kFreePortsEnd);
  }
  EXPECT_EQ(Bind(1, On("127.0.0.1:0")), EADDRINUSE);
  ports_.Release(&owners_[0], *Endpoint::Parse("127.0.0.1:20000"));
  PortTable::Claim claim = On("127.0.0.1:0");
  EXPECT_EQ(ports_.Bind(&owners_[1], claim), 0);
  EXPECT_EQ(claim.local.port, 20000);
  EXPECT_EQ(ports_.size(), static_cast<size_t>(kFree));
}

TEST_F(PortTableTest, nobody_can_tell_which_port_is_next) {
  std::set<int> steps;
  int last = 0;
  for (int i = 0; i < 20; ++i) {
    PortTable::Claim claim = On("0.0.0.0:0");
    ASSERT_EQ(ports_.Bind(&owners_[0], claim), 0);
    steps.insert(claim.local.port - std::exchange(last, claim.local.port));
  }
  EXPECT_GT(steps.size(), 18u);
}

TEST_F(PortTableTest, a_port_is_open_when_others_can_reach_it) {
  const Endpoint at = *Endpoint::Parse("10.0.0.2:80");
  EXPECT_FALSE(ports_.IsOpen(at, false));
  ASSERT_EQ(Bind(0, On("127.0.0.1:80")), 0);
  ASSERT_EQ(ports_.Listen(&owners_[0], *Endpoint::Parse("127.0.0.1:80")), 0);
  EXPECT_FALSE(ports_.IsOpen(at, true));
  ASSERT_EQ(Bind(1, On("10.0.0.2:80")), 0);
  EXPECT_TRUE(ports_.IsOpen(at, false));
  EXPECT_FALSE(ports_.IsOpen(at, true));
  ASSERT_EQ(ports_.Listen(&owners_[1], *Endpoint::Parse("10.0.0.2:80")), 0);
  EXPECT_TRUE(ports_.IsOpen(at, true));
  ports_.Release(&owners_[1], *Endpoint::Parse("10.0.0.2:80"));
  EXPECT_FALSE(ports_.IsOpen(at, false));
}

TEST_F(PortTableTest, a_port_is_open_by_the_families_that_its_socket_takes) {
  const Endpoint v4 = *Endpoint::Parse("10.0.0.2:80"), v6 = *Endpoint::Parse("[fd00::2]:80");
  const auto open = [&](const char* bound, bool v6_only) {
    PortTable::Claim claim = On(bound);
    claim.v6_only = v6_only;
    EXPECT_EQ(ports_.Bind(&owners_[0], claim), 0);
    const std::pair<bool, bool> is_open{ports_.IsOpen(v4, false), ports_.IsOpen(v6, false)};
    ports_.Release(&owners_[0], claim.local);
    return is_open;
  };
  EXPECT_EQ(open("0.0.0.0:80", false), std::pair(true, false));
  EXPECT_EQ(open("[::]:80", false), std::pair(true, true));
  EXPECT_EQ(open("[::]:80", true), std::pair(false, true));
  EXPECT_EQ(open("[fd00::2]:80", false), std::pair(false, true));
  EXPECT_EQ(open("[::1]:80", false), std::pair(false, false));
}

}  // namespace
}  // namespace im::agent
