// Guests' names: whose they are, and for how long.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "orchestrator/virtual_cluster.h"
#include "tunnel/keys.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr char kGuestsYaml[] = R"(
name: test
network: {cidr: 10.77.0.0/24}
hosts:
  db: {command: [db], aliases: [store, run-1]}
  worker: {command: [worker], replicas: 2}
)";

class ControllerGuestsTest : public testing::Test {
 protected:
  Controller& controller() { return cluster_.controller(); }
  absl::StatusOr<proto::JoinReply> Join(const std::string& name) {
    return controller().Join(name, "program", nullptr);
  }
  std::string Refusal(const std::string& name) {
    const absl::Status status = Join(name).status();
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << name << ": " << status;
    return std::string(status.message());
  }
  void AddLaptop() {
    proto::AddPeerRequest request;
    request.set_name("laptop");
    request.set_public_key(std::string(tunnel::kKeyBytes, 'k'));
    const auto added = controller().peers().Add(request);
    ASSERT_TRUE(added.ok()) << added.status();
    laptop_ = *IpAddress::Parse(added->address());
  }

  VirtualCluster cluster_{kGuestsYaml};
  IpAddress laptop_;
};

TEST_F(ControllerGuestsTest, AGuestsNameIsKnownWhileItIsThere) {
  EXPECT_FALSE(controller().name_index().Find("driver").has_value());
  const auto reply = Join("driver");
  ASSERT_TRUE(reply.ok());
  const IpAddress address = *IpAddress::Parse(reply->address());
  VirtualInstance& guest = cluster_.RunGuest(*reply);
  cluster_.RunFor(milliseconds(10));
  EXPECT_EQ(controller().name_index().Find("driver"), address);
  EXPECT_TRUE(controller().name_index().IsPassing("driver"));
  EXPECT_EQ(controller().name_index().FindName(address), "driver");
  EXPECT_FALSE(controller().name_index().IsPassing("db"));

  // Another imd knows it, too.
  cluster_.KillImd();
  cluster_.StartImd();
  EXPECT_EQ(controller().name_index().Find("driver"), address);

  const InstanceId id = guest.id();
  controller().Leave("driver");
  cluster_.RunFor(milliseconds(10));
  EXPECT_FALSE(controller().name_index().Find("driver").has_value());
  EXPECT_EQ(controller().name_index().FindName(address), "");
  cluster_.EndInstance(id, {});
  EXPECT_TRUE(Join("driver").ok());
}

TEST_F(ControllerGuestsTest, ANameThatSomebodyHasIsRefusedAndSaysWhose) {
  AddLaptop();
  ASSERT_TRUE(Join("driver").ok());
  for (const char* name : {"db", "store", "worker", "worker-2"})
    EXPECT_EQ(Refusal(name), std::string("the name ") + name +
                                 " is taken: it is in cluster.yaml; choose another --name");
  EXPECT_THAT(Refusal("driver"), HasSubstr("of a program by im run, which is still there"));
  EXPECT_THAT(Refusal("laptop"), HasSubstr("of a peer (im peer list)"));
  EXPECT_TRUE(Join("worker-3").ok());
}

TEST_F(ControllerGuestsTest, WithoutANameTheFirstFreeNumberIsTaken) {
  EXPECT_EQ(Join("")->name(), "run-2") << "run-1 is an alias of db";
  ASSERT_TRUE(Join("run-3").ok());
  EXPECT_EQ(Join("")->name(), "run-4");
}

TEST_F(ControllerGuestsTest, APeersNameIsKnownUntilItIsRemoved) {
  AddLaptop();
  EXPECT_EQ(controller().name_index().Find("laptop"), laptop_);
  EXPECT_EQ(controller().name_index().FindName(laptop_), "laptop");
  ASSERT_TRUE(controller().peers().Remove("laptop").ok());
  EXPECT_FALSE(controller().name_index().Find("laptop").has_value());
}

}  // namespace
}  // namespace im::orchestrator
