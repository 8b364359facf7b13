// Two devices and a wire: the ordinary course of things.

#include "tunnel/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DeviceTest : public ::testing::Test {
 protected:
  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
};

TEST_F(DeviceTest, AFirstPacketMakesTheHandshakeAndArrives) {
  network.Introduce(a, b);
  network.SendText(a, b, "hello");
  EXPECT_EQ(network.wire.size(), 1u);
  network.DeliverAll();

  ASSERT_EQ(network.log.size(), 3u);
  EXPECT_EQ(network.log[0].type(), MessageType::kInitiation);
  EXPECT_EQ(network.log[0].bytes.size(), 148u);
  EXPECT_EQ(network.log[1].type(), MessageType::kResponse);
  EXPECT_EQ(network.log[1].bytes.size(), 92u);
  EXPECT_EQ(network.log[2].type(), MessageType::kTransport);
  EXPECT_THAT(b.texts(), ElementsAre("hello"));
  EXPECT_THAT(a.ups, ElementsAre(b.key()));
  EXPECT_THAT(b.ups, ElementsAre(a.key()));
  EXPECT_EQ(a.device.drops().total() + b.device.drops().total(), 0u);

  network.SendText(b, a, "hello yourself");
  network.DeliverAll();
  EXPECT_EQ(network.log.size(), 4u);
  EXPECT_THAT(a.texts(), ElementsAre("hello yourself"));
}

}  // namespace
}  // namespace im::tunnel
