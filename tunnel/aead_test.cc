#include "tunnel/aead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "tunnel/ipsec_mb.h"

namespace im::tunnel {
namespace {

const SecretKey& Key() {
  static const SecretKey key =
      *SecretKey::FromHex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
  return key;
}

std::vector<uint8_t> Ramp(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  return bytes;
}

// Both directions of one key, and a way to lead them past libsodium.
struct Pair {
  explicit Pair(AeadLibrary library) : sealer(Key(), library), opener(Key(), library) {}

  void UseUp() {
    std::vector<uint8_t> bytes(60000 + kTagBytes);
    for (uint64_t i = 0; i <= kBulkBytes / 60000; ++i) {
      AeadJob job{.in = bytes.data(), .out = bytes.data(), .size = 60000, .counter = 1000 + i};
      sealer.Seal({&job, 1});
      opener.Open({&job, 1});
      EXPECT_TRUE(job.ok);
    }
  }

  AeadSealer sealer;
  AeadOpener opener;
};

class AeadLibraryTest : public testing::TestWithParam<AeadLibrary> {
 protected:
  void SetUp() override {
    if (GetParam() == AeadLibrary::kIpsecMb && IpsecMb::OfThread() == nullptr)
      GTEST_SKIP() << "IPsec-MB is not built in, or the processor has no AVX2";
  }
};

INSTANTIATE_TEST_SUITE_P(Every, AeadLibraryTest,
                         testing::Values(AeadLibrary::kAuto, AeadLibrary::kIpsecMb,
                                         AeadLibrary::kOpenSsl),
                         [](const auto& test) -> std::string {
                           return test.param == AeadLibrary::kAuto       ? "Auto"
                                  : test.param == AeadLibrary::kIpsecMb ? "IpsecMb"
                                                                        : "OpenSsl";
                         });

TEST_P(AeadLibraryTest, SealsAsTheHandshakeDoesUnderEverySize) {
  for (bool used : {false, true}) {
    for (size_t size : {0, 1, 15, 16, 17, 63, 64, 65, 114, 1420, 2048, 2049, 65000}) {
      Pair pair(GetParam());
      if (used) pair.UseUp();
      const std::vector<uint8_t> plaintext = Ramp(size);
      std::vector<uint8_t> sealed(size + kTagBytes);
      const AeadJob seal{
          .in = plaintext.data(), .out = sealed.data(), .size = static_cast<uint32_t>(size)};
      pair.sealer.Seal({&seal, 1});
      std::vector<uint8_t> expected(size + kTagBytes);
      AeadSeal(expected, Key(), plaintext, {});
      EXPECT_EQ(sealed, expected) << size;

      AeadJob open{.in = sealed.data(), .out = sealed.data(), .size = static_cast<uint32_t>(size)};
      pair.opener.Open({&open, 1});
      EXPECT_TRUE(open.ok);
      sealed.resize(size);
      EXPECT_EQ(sealed, plaintext);
    }
  }
}

// Computed by a separate implementation that gives RFC 8439 2.8.2 right.
TEST_P(AeadLibraryTest, TheCounterIsLittleEndianBehindFourZeroBytes) {
  constexpr char kSunscreen[] =
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
      "sunscreen would be it.";
  constexpr char kSealed[] =
      "b8d08ad235a97bbc4dd551cc6b1911b3961e31851245f58e7f581dbe0627e811"
      "f7465bd39dd94d5546bf48ac1a2dd43cbda6f795d215ec93abb888192adfa41a"
      "10ee4bb956f2bbbe7294b33f513dbeeba962d9c2f8cc18c88a9171bebc9ffb11"
      "6a4383f49408e055ad9ca5fa75dccb65b94fd5d23d697079b0de81ed4b7817a9"
      "2427";
  Pair pair(GetParam());
  for (int round = 0; round < 2; ++round) {
    std::vector<uint8_t> sealed(sizeof(kSunscreen) - 1 + kTagBytes);
    const AeadJob seal{.in = reinterpret_cast<const uint8_t*>(kSunscreen),
                       .out = sealed.data(),
                       .size = sizeof(kSunscreen) - 1,
                       .counter = 0x0102030405060708};
    pair.sealer.Seal({&seal, 1});
    std::string hex;
    for (uint8_t byte : sealed) {
      hex += "0123456789abcdef"[byte >> 4];
      hex += "0123456789abcdef"[byte & 15];
    }
    EXPECT_EQ(hex, kSealed);
    pair.UseUp();
  }
}

// One batch in which every job has its own size, place and counter.
struct RandomBatch {
  RandomBatch(Random& random, size_t count, uint32_t size_max) {
    for (size_t i = 0; i < count; ++i) {
      const uint32_t size = static_cast<uint32_t>(random.Below(size_max + 1));
      // Shifted, so that no alignment is relied upon.
      const size_t shift = random.Below(16);
      std::vector<uint8_t>& bytes = buffers.emplace_back(shift + size + kTagBytes);
      random.Fill(bytes);
      plain.emplace_back(bytes.begin() + shift, bytes.begin() + shift + size);
      uint8_t* const data = bytes.data() + shift;
      jobs.push_back({.in = data, .out = data, .size = size, .counter = random.Uint64()});
    }
  }
  std::vector<std::vector<uint8_t>> buffers;
  std::vector<std::vector<uint8_t>> plain;
  std::vector<AeadJob> jobs;
};

TEST_P(AeadLibraryTest, RandomBatchesAreSealedAsOpenSslSealsThem) {
  SeededRandom random(20260101);
  Pair pair(GetParam());
  Pair reference(AeadLibrary::kOpenSsl);
  pair.UseUp();
  for (int round = 0; round < 60; ++round) {
    const size_t count = random.Below(150);
    const uint32_t size_max = round % 3 == 0 ? 100 : round % 3 == 1 ? 1500 : 9000;
    RandomBatch batch(random, count, size_max);
    std::vector<std::vector<uint8_t>> expected;
    for (size_t i = 0; i < count; ++i) {
      std::vector<uint8_t>& out = expected.emplace_back(batch.jobs[i].size + kTagBytes);
      AeadJob job = batch.jobs[i];
      job.out = out.data();
      reference.sealer.Seal({&job, 1});
    }
    pair.sealer.Seal(batch.jobs);
    for (size_t i = 0; i < count; ++i) {
      const uint8_t* sealed = batch.jobs[i].out;
      ASSERT_TRUE(std::equal(expected[i].begin(), expected[i].end(), sealed)) << round << " " << i;
    }

    // Some of them are forged, anywhere in the batch.
    std::vector<bool> forged(count);
    for (size_t i = 0; i < count; ++i) {
      forged[i] = random.Below(4) == 0;
      AeadJob& job = batch.jobs[i];
      if (forged[i]) job.out[random.Below(job.size + kTagBytes)] ^= 1 << random.Below(8);
    }
    pair.opener.Open(batch.jobs);
    for (size_t i = 0; i < count; ++i) {
      const AeadJob& job = batch.jobs[i];
      ASSERT_EQ(job.ok, !forged[i]) << round << " " << i;
      if (job.ok) {
        ASSERT_TRUE(std::equal(batch.plain[i].begin(), batch.plain[i].end(), job.out));
      }
    }
  }
}

TEST_P(AeadLibraryTest, AWrongNonceOpensNothing) {
  Pair pair(GetParam());
  for (int round = 0; round < 2; ++round) {
    std::vector<uint8_t> bytes(100 + kTagBytes);
    AeadJob job{.in = bytes.data(), .out = bytes.data(), .size = 100, .counter = 7};
    pair.sealer.Seal({&job, 1});
    job.counter = 8;
    pair.opener.Open({&job, 1});
    EXPECT_FALSE(job.ok);
    pair.UseUp();
  }
}

// A key may be used by one thread after another; each has its own library.
TEST_P(AeadLibraryTest, AKeyOutlivesTheThreadThatUsedItFirst) {
  Pair pair(GetParam());
  std::thread([&] { pair.UseUp(); }).join();
  pair.UseUp();
}

}  // namespace
}  // namespace im::tunnel
