#include "orchestrator/dashboard/dashboard_token.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::orchestrator {
namespace {

constexpr size_t kTokenBytes = 32;

bool IsToken(absl::string_view text) {
  return text.size() == 2 * kTokenBytes && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
}

}  // namespace

absl::StatusOr<DashboardToken> DashboardToken::Open(const std::string& path,
                                                    std::optional<uid_t> owner, Random& random) {
  const std::string what = absl::StrCat("dashboard's token ", path);
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(what);
  // Before anything is in it.
  if (fchmod(file.get(), 0600) < 0 ||
      (owner && fchown(file.get(), *owner, static_cast<gid_t>(-1)) < 0)) {
    return ErrnoStatus(what);
  }
  char known[2 * kTokenBytes + 2];
  const ssize_t n = pread(file.get(), known, sizeof(known), 0);
  const absl::string_view text =
      absl::StripAsciiWhitespace({known, n > 0 ? static_cast<size_t>(n) : 0});
  if (IsToken(text)) return DashboardToken(std::string(text));
  std::array<uint8_t, kTokenBytes> bytes;
  random.Fill(bytes);
  const std::string made = absl::BytesToHexString(
      {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const std::string line = absl::StrCat(made, "\n");
  if (ftruncate(file.get(), 0) < 0 ||
      pwrite(file.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size())) {
    return ErrnoStatus(what);
  }
  return DashboardToken(made);
}

bool DashboardToken::Permits(absl::string_view authorization) const {
  constexpr absl::string_view kBearer = "Bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kBearer)) return false;
  const absl::string_view shown = authorization.substr(kBearer.size());
  return shown.size() == text_.size() &&
         CRYPTO_memcmp(shown.data(), text_.data(), text_.size()) == 0;
}

}  // namespace im::orchestrator
