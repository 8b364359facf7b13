#include "orchestrator/cli/json.h"

#include <gtest/gtest.h>

#include "proto/api.pb.h"

namespace im::orchestrator::cli {
namespace {

TEST(Json, NumbersAreNumbersAndNamesAreKept) {
  proto::Event event;
  event.set_sequence(18446744073709551615u);
  event.set_unix_nanos(-1);
  event.set_host("db");
  event.set_error(true);
  EXPECT_EQ(ToJson(event),
            "{\"sequence\":18446744073709551615,\"unix_nanos\":-1,\"host\":\"db\",\"from\":\"\","
            "\"to\":\"\",\"text\":\"\",\"duration_ns\":0,\"error\":true}");
}

TEST(Json, EnumsAreNamesAndAddressesAreText) {
  proto::WakeCause cause;
  cause.set_kind(proto::WakeCause::SYN);
  cause.set_source(std::string("\x0a\x4d\x00\x02", 4));
  cause.set_destination(std::string("\x01\x02", 2));
  EXPECT_EQ(ToJson(cause),
            "{\"kind\":\"SYN\",\"source\":\"10.77.0.2\",\"source_port\":0,\"destination\":\"0102\","
            "\"destination_port\":0,\"protocol\":0,\"detail\":\"\"}");
}

TEST(Json, ListsMapsAndMessagesNest) {
  proto::Cluster cluster;
  (*cluster.mutable_drops())["b"] = 2;
  (*cluster.mutable_drops())["a"] = 1;
  EXPECT_NE(ToJson(cluster).find("\"drops\":{\"a\":1,\"b\":2}"), std::string::npos);
  proto::WhyReply why;
  why.add_keeps_up("x");
  why.add_keeps_up("y");
  why.mutable_host()->set_name("n");
  const std::string text = ToJson(why);
  EXPECT_EQ(text.find("{\"host\":{\"name\":\"n\","), 0u);
  EXPECT_NE(text.find("\"events\":[],\"keeps_up\":[\"x\",\"y\"]}"), std::string::npos);
}

TEST(Json, TextIsEscaped) {
  EXPECT_EQ(JsonString("a\"b\\c\n\x01→"), "\"a\\\"b\\\\c\\u000a\\u0001→\"");
  EXPECT_EQ(ToJson(std::vector<Diagnostic>{{"f", {1, 2}, "m", "h"}}),
            "[{\"file\":\"f\",\"line\":1,\"column\":2,\"message\":\"m\",\"hint\":\"h\"}]");
}

}  // namespace
}  // namespace im::orchestrator::cli
