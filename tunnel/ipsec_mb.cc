#include "tunnel/ipsec_mb.h"

#if IM_HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "tunnel/crypto.h"

namespace im::tunnel {

#if IM_HAVE_IPSEC_MB

namespace {

// Jobs under way in the library at a time. Its own ring has 256 places or more.
constexpr size_t kJobsMax = 32;
constexpr size_t kNonceBytes = 12;
// With AVX2, OpenSSL is faster from about there on.
constexpr size_t kAvx2BytesMax = 2048;

bool ProcessorHasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

struct IpsecMb::Manager {
  ~Manager() {
    if (mgr != nullptr) free_mb_mgr(mgr);
  }

  // Works off at most kJobsMax jobs, leaving their tags in `tags`. False if
  // the library refused one.
  bool Run(const SecretKey& key, std::span<const AeadJob> jobs, bool seal);

  IMB_MGR* mgr = nullptr;
  std::array<std::array<uint8_t, kNonceBytes>, kJobsMax> nonces{};
  std::array<Mac, kJobsMax> tags;
};

bool IpsecMb::Manager::Run(const SecretKey& key, std::span<const AeadJob> jobs, bool seal) {
  size_t done = 0;
  bool ok = true;
  const auto take = [&](const IMB_JOB* job) {
    ++done;
    ok = ok && job->status == IMB_STATUS_COMPLETED;
  };
  for (size_t i = 0; i < jobs.size(); ++i) {
    for (int b = 0; b < 8; ++b) nonces[i][4 + b] = static_cast<uint8_t>(jobs[i].counter >> (8 * b));
    IMB_JOB* job = IMB_GET_NEXT_JOB(mgr);
    job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job->enc_keys = job->dec_keys = key.bytes().data();
    job->key_len_in_bytes = kKeyBytes;
    job->iv = nonces[i].data();
    job->iv_len_in_bytes = kNonceBytes;
    job->src = jobs[i].in;
    job->dst = jobs[i].out;
    job->cipher_start_src_offset_in_bytes = job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_cipher_in_bytes = job->msg_len_to_hash_in_bytes = jobs[i].size;
    job->u.CHACHA20_POLY1305.aad = nullptr;
    job->u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
    job->auth_tag_output = tags[i].data();
    job->auth_tag_output_len_in_bytes = kTagBytes;
    // What goes in is checked by the caller's types; the library's own checks
    // are of the algorithm and null pointers.
    for (job = IMB_SUBMIT_JOB_NOCHECK(mgr); job != nullptr; job = IMB_GET_COMPLETED_JOB(mgr))
      take(job);
  }
  while (IMB_JOB* job = IMB_FLUSH_JOB(mgr)) take(job);
  return ok && done == jobs.size();
}

std::unique_ptr<IpsecMb> IpsecMb::Make() {
  const bool avx512 = ProcessorHasAvx512();
  if (!avx512 && !__builtin_cpu_supports("avx2")) return nullptr;
  auto manager = std::make_unique<Manager>();
  manager->mgr = alloc_mb_mgr(0);
  if (manager->mgr == nullptr) return nullptr;
  (avx512 ? init_mb_mgr_avx512 : init_mb_mgr_avx2)(manager->mgr);
  std::unique_ptr<IpsecMb> made(
      new IpsecMb(std::move(manager), avx512 ? SIZE_MAX : kAvx2BytesMax));
  if (made->PassesSelfTest()) return made;
  IM_LOG(kWarning, "IPsec-MB does not pass its self-test; OpenSSL is used");
  return nullptr;
}

void IpsecMb::Seal(const SecretKey& key, std::span<const AeadJob> jobs) {
  while (!jobs.empty()) {
    const auto some = jobs.first(std::min(jobs.size(), kJobsMax));
    IM_CHECK(manager_->Run(key, some, true));
    for (size_t i = 0; i < some.size(); ++i)
      std::copy(manager_->tags[i].begin(), manager_->tags[i].end(), some[i].out + some[i].size);
    jobs = jobs.subspan(some.size());
  }
}

void IpsecMb::Open(const SecretKey& key, std::span<AeadJob> jobs) {
  while (!jobs.empty()) {
    const auto some = jobs.first(std::min(jobs.size(), kJobsMax));
    IM_CHECK(manager_->Run(key, some, false));
    // The tag lies behind what was opened, so it is still there.
    for (size_t i = 0; i < some.size(); ++i)
      some[i].ok = EqualConstantTime(manager_->tags[i], {some[i].in + some[i].size, kTagBytes});
    jobs = jobs.subspan(some.size());
  }
}

#else  // IM_HAVE_IPSEC_MB

struct IpsecMb::Manager {
  bool Run(const SecretKey&, std::span<const AeadJob>, bool) { return false; }
};
std::unique_ptr<IpsecMb> IpsecMb::Make() { return nullptr; }
void IpsecMb::Seal(const SecretKey&, std::span<const AeadJob>) { IM_CHECK(false); }
void IpsecMb::Open(const SecretKey&, std::span<AeadJob>) { IM_CHECK(false); }

#endif  // IM_HAVE_IPSEC_MB

IpsecMb::IpsecMb(std::unique_ptr<Manager> manager, size_t size_max)
    : manager_(std::move(manager)), size_max_(size_max) {}
IpsecMb::~IpsecMb() = default;

IpsecMb* IpsecMb::OfThread() {
  thread_local const std::unique_ptr<IpsecMb> of_thread = Make();
  return of_thread.get();
}

// Sizes around every boundary of blocks and lanes, in one batch.
bool IpsecMb::PassesSelfTest() {
  constexpr uint32_t kSizes[] = {0, 1, 16, 63, 64, 65, 255, 256, 257, 1024, 1423, 1424, 4097};
  SecretKey key;
  for (size_t i = 0; i < kKeyBytes; ++i) key.bytes()[i] = static_cast<uint8_t>(3 * i + 1);
  std::vector<std::vector<uint8_t>> plain, sealed;
  std::vector<AeadJob> jobs;
  for (const uint32_t size : kSizes) {
    std::vector<uint8_t>& bytes = plain.emplace_back(size);
    for (uint32_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 5 + size);
    sealed.emplace_back(size + kTagBytes);
    // AeadSeal has the counter 0.
    jobs.push_back({.in = bytes.data(), .out = sealed.back().data(), .size = size});
  }
  if (!manager_->Run(key, jobs, true)) return false;
  Seal(key, jobs);
  for (size_t i = 0; i < jobs.size(); ++i) {
    std::vector<uint8_t> expected(sealed[i].size());
    AeadSeal(expected, key, plain[i], {});
    if (sealed[i] != expected) return false;
    jobs[i].in = jobs[i].out;
  }
  constexpr size_t kForged = 3;
  sealed[kForged][5] ^= 1;
  Open(key, jobs);
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].ok != (i != kForged)) return false;
    if (jobs[i].ok && !std::equal(plain[i].begin(), plain[i].end(), sealed[i].begin()))
      return false;
  }
  return true;
}

}  // namespace im::tunnel
