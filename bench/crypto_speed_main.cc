// im-crypto-speed: how fast ChaCha20-Poly1305 and Curve25519 are here, by the
// libraries that a tunnel can use; the load of the scenario `crypto`.
//
//   im-crypto-speed
//     Reads one command a line, answers with one JSON object a line:
//       seal|open LIBRARY BYTES MILLISECONDS   ns (of processor time) of a message,
//           gigabytes_per_s, of batches of kBatch messages one after the other in memory, as the
//           tunnel has them. LIBRARY: ipsec-mb, openssl, libsodium
//       x25519 MILLISECONDS                    per_s

#include <sodium.h>
#include <time.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/random.h"
#include "tunnel/aead.h"
#include "tunnel/ipsec_mb.h"

namespace im::bench {
namespace {

using namespace im::tunnel;

constexpr size_t kBatch = 45;  // packets of 1420 bytes in one datagram with UDP_SEGMENT
constexpr uint32_t kBytesMax = 65'535;

std::string Error(absl::string_view text) {
  return absl::StrCat("{\"ok\": false, \"error\": \"", text, "\"}");
}

// A batch in memory, and one library's way through it.
class Batch {
 public:
  explicit Batch(uint32_t bytes)
      : bytes_(bytes), memory_(kBatch * (bytes + kTagBytes)), jobs_(kBatch) {
    randombytes_buf(memory_.data(), memory_.size());
    for (size_t i = 0; i < kBatch; ++i) {
      uint8_t* const place = memory_.data() + i * (bytes + kTagBytes);
      jobs_[i] = {.in = place, .out = place, .size = bytes, .counter = i};
    }
  }
  std::span<AeadJob> jobs() { return jobs_; }
  // What was opened is to be opened again.
  void Keep() { kept_ = memory_; }
  void Restore() { std::copy(kept_.begin(), kept_.end(), memory_.begin()); }
  uint32_t bytes() const { return bytes_; }

 private:
  const uint32_t bytes_;
  std::vector<uint8_t> memory_, kept_;
  std::vector<AeadJob> jobs_;
};

void SealWithSodium(const SecretKey& key, std::span<AeadJob> jobs) {
  for (const AeadJob& job : jobs) {
    uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES] = {};
    nonce[4] = static_cast<uint8_t>(job.counter);
    crypto_aead_chacha20poly1305_ietf_encrypt(job.out, nullptr, job.in, job.size, nullptr, 0,
                                              nullptr, nonce, key.bytes().data());
  }
}

void OpenWithSodium(const SecretKey& key, std::span<AeadJob> jobs) {
  for (AeadJob& job : jobs) {
    uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES] = {};
    nonce[4] = static_cast<uint8_t>(job.counter);
    job.ok = crypto_aead_chacha20poly1305_ietf_decrypt(job.out, nullptr, nullptr, job.in,
                                                       job.size + kTagBytes, nullptr, 0, nonce,
                                                       key.bytes().data()) == 0;
  }
}

// This thread's processor time: others may use the processor, too.
double ProcessorSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Of `work`, again and again for so long; `between` is not counted.
template <typename Work, typename Between>
double SecondsOfOne(Duration time, const Work& work, const Between& between) {
  const RealClock clock;
  double spent_s = 0;
  int64_t count = 0;
  const Instant end = clock.Now() + time;
  do {
    between();
    const double begin_s = ProcessorSeconds();
    work();
    spent_s += ProcessorSeconds() - begin_s;
    ++count;
  } while (clock.Now() < end);
  return spent_s / static_cast<double>(count);
}

std::string Measure(bool seal, const std::string& library, uint32_t bytes, Duration time) {
  SecureRandom random;
  SecretKey key;
  random.Fill(key.bytes());
  AeadLibrary which = AeadLibrary::kAuto;
  if (library == "ipsec-mb") {
    if (IpsecMb::OfThread() == nullptr) return Error("IPsec-MB cannot be used here");
    which = AeadLibrary::kIpsecMb;
  } else if (library == "openssl") {
    which = AeadLibrary::kOpenSsl;
  } else if (library != "libsodium") {
    return Error("no such library");
  }
  AeadSealer sealer(key, which);
  AeadOpener opener(key, which);
  const bool sodium = library == "libsodium";
  Batch batch(bytes);
  const auto seal_all = [&] {
    sodium ? SealWithSodium(key, batch.jobs()) : sealer.Seal(batch.jobs());
  };
  const auto open_all = [&] {
    sodium ? OpenWithSodium(key, batch.jobs()) : opener.Open(batch.jobs());
  };
  seal_all();
  batch.Keep();
  const double batch_s = seal ? SecondsOfOne(time, seal_all, [] {})
                              : SecondsOfOne(time, open_all, [&] { batch.Restore(); });
  for (const AeadJob& job : batch.jobs()) {
    if (!seal && !job.ok) return Error("what was sealed did not open");
  }
  const double message_s = batch_s / kBatch;
  return absl::StrCat("{\"ok\": true, \"ns\": ", message_s * 1e9,
                      ", \"gigabytes_per_s\": ", bytes / message_s / 1e9, "}");
}

std::string MeasureX25519(Duration time) {
  SecureRandom random;
  const PrivateKey mine = GeneratePrivateKey(random), other = GeneratePrivateKey(random);
  const PublicKey point = X25519Base(other);
  SecretKey shared;
  bool ok = true;
  const double one_s = SecondsOfOne(time, [&] { ok = X25519(shared, mine, point) && ok; }, [] {});
  if (!ok) return Error("a point of low order");
  return absl::StrCat("{\"ok\": true, \"per_s\": ", 1 / one_s, "}");
}

std::string Answer(const std::string& line) {
  std::istringstream words(line);
  std::string verb, library;
  words >> verb;
  int milliseconds = 0;
  if (verb == "x25519" && words >> milliseconds) {
    return MeasureX25519(std::chrono::milliseconds(milliseconds));
  }
  uint32_t bytes = 0;
  if ((verb == "seal" || verb == "open") && words >> library >> bytes >> milliseconds &&
      bytes > 0 && bytes <= kBytesMax) {
    return Measure(verb == "seal", library, bytes, std::chrono::milliseconds(milliseconds));
  }
  return Error("not a command");
}

}  // namespace
}  // namespace im::bench

int main() {
  im::tunnel::InitCrypto();
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << im::bench::Answer(line) << std::endl;
  }
  return 0;
}
