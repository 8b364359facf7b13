// Tuning: switches of the data path, for machines where a library or the kernel
// does not do what it says. Taken from the environment, so that every program
// with a tunnel in it has them:
//
//   IM_AEAD     auto | ipsec-mb | openssl    what seals bulk data (aead.h)
//   IM_UDP_GSO  auto | on | off              UDP_SEGMENT (gso_batch_writer.h)
//   IM_UDP_GRO  auto | on | off              UDP_GRO (udp_socket.h)
//
// auto is what the start-up tests say; on means without a test.

#ifndef IM_TUNNEL_TUNING_H_
#define IM_TUNNEL_TUNING_H_

#include <functional>

namespace im::tunnel {

enum class AeadLibrary { kAuto, kIpsecMb, kOpenSsl };
enum class Switch { kAuto, kOn, kOff };

struct Tuning {
  AeadLibrary aead = AeadLibrary::kAuto;
  Switch udp_gso = Switch::kAuto;
  Switch udp_gro = Switch::kAuto;

  // `get` as getenv(3). An unknown value is said in the log, and is auto.
  static Tuning Parse(const std::function<const char*(const char*)>& get);
  // The process's environment, read once.
  static const Tuning& ByEnvironment();
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_TUNING_H_
