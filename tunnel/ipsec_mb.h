// IpsecMb: ChaCha20-Poly1305 of Intel's multi-buffer library (IPsec-MB).
//
// With AVX-512 a packet of 1420 bytes takes 40 % of the time that OpenSSL's EVP
// needs, and an empty one a fifth; with AVX2 90 % and a quarter, but one of
// 9 KB twice as long. So there is a largest message for which the library is
// to be used. A job's cost does not depend on how many are given at a time
// (the library works one off in the lanes of a vector), so no batch is too
// small for it.
//
// The library keeps its state in a manager, which costs 200 KB, 4 MB of code
// that its own self-test touches, and a quarter of a millisecond. Each thread
// makes one when a key first needs it.

#ifndef IM_TUNNEL_IPSEC_MB_H_
#define IM_TUNNEL_IPSEC_MB_H_

#include <cstddef>
#include <memory>
#include <span>

#include "tunnel/aead.h"

namespace im::tunnel {

class IpsecMb {
 public:
  // The calling thread's. Null if the program was built without the library,
  // the processor has no AVX2, or the library does not seal and open as
  // libsodium does (which is said in the log).
  static IpsecMb* OfThread();

  ~IpsecMb();
  IpsecMb(const IpsecMb&) = delete;
  IpsecMb& operator=(const IpsecMb&) = delete;

  // Messages up to this are sealed faster than by OpenSSL, in bytes.
  size_t size_max() const { return size_max_; }

  // As AeadSealer and AeadOpener have it.
  void Seal(const SecretKey& key, std::span<const AeadJob> jobs);
  void Open(const SecretKey& key, std::span<AeadJob> jobs);

 private:
  struct Manager;

  IpsecMb(std::unique_ptr<Manager> manager, size_t size_max);
  static std::unique_ptr<IpsecMb> Make();
  bool PassesSelfTest();

  std::unique_ptr<Manager> manager_;
  const size_t size_max_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_IPSEC_MB_H_
