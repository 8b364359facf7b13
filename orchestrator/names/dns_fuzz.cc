// Any bytes as a DNS query: no crash, and every answer is a response to the
// same identifier that fits into one datagram.

#include <cstdlib>

#include "orchestrator/names/dns_responder.h"
#include "proto/agent.pb.h"

namespace {

im::names::DnsResponder& Responder() {
  static im::names::NameIndex names = [] {
    im::proto::NameTable table;
    for (const char* name : {"web", "app", "db"}) {
      im::proto::HostName* host = table.add_hosts();
      host->set_name(name);
      host->set_address(std::string("\x0a\x4d\x00", 3) + name[0]);
    }
    im::proto::HostName* six = table.add_hosts();
    six->set_name("six");
    six->set_address(std::string(15, '\xfd') + "x");
    return im::names::NameIndex(table.SerializeAsString());
  }();
  static im::names::DnsResponder responder(names, "shop.im",
                                           *im::IpPrefix::Parse("10.77.0.0/24"));
  return responder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Responder().WhoKnows({data, size});
  const auto answer = Responder().Answer({data, size});
  if (!answer) return 0;
  const bool fits = answer->size() >= 12 && answer->size() <= 1232;
  if (!fits || (*answer)[0] != data[0] || (*answer)[1] != data[1] || ((*answer)[2] & 0x80) == 0)
    std::abort();
  // The names of the start request are parsed too, when first asked.
  im::names::NameIndex index(std::string(reinterpret_cast<const char*>(data), size));
  index.size();
  return 0;
}
