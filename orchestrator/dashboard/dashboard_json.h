// What the page is told, as JSON. Times are milliseconds since 1970, other
// fields have the names and units of proto/api.proto. Empty fields are left out.

#ifndef IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_JSON_H_
#define IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_JSON_H_

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "orchestrator/controller.h"
#include "proto/api.pb.h"

namespace im::orchestrator {

// In one line; bytes that are no UTF-8 are replaced, as they may come from
// programs.
std::string JsonText(const nlohmann::json& json);

nlohmann::json ClusterJson(const Controller& controller, int64_t unix_ms);
// A host as a row of the page.
nlohmann::json HostJson(const Controller& controller, HostId host, Instant now, int64_t unix_ms);
// Another number when HostJson would say something else.
uint64_t HostFingerprint(const Controller& controller, HostId host);
nlohmann::json EventJson(const proto::Event& event);
nlohmann::json TotalsJson(const Controller& controller, Instant now, int64_t unix_ms);
nlohmann::json WhyJson(const proto::WhyReply& why);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_JSON_H_
