#include "orchestrator/image/image_accounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "orchestrator/image/safe_tree.h"

namespace im::orchestrator {
namespace {

// passwd(5) of an image: a few KB. What is larger is not read to its end.
constexpr size_t kAccountsBytesMax = 4 << 20;

// Its lines, split at colons; none if there is no such file.
std::vector<std::vector<std::string>> ReadTable(const SafeTree& tree, const std::string& path,
                                                size_t fields_min) {
  std::vector<std::vector<std::string>> rows;
  const auto file = tree.OpenFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat info;
  if (!file.ok() || fstat(file->get(), &info) != 0 || !S_ISREG(info.st_mode)) return rows;
  std::string text(std::min(static_cast<size_t>(info.st_size), kAccountsBytesMax), '\0');
  const ssize_t n = read(file->get(), text.data(), text.size());
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    std::vector<std::string> fields = absl::StrSplit(line, ':');
    if (fields.size() >= fields_min && !fields[0].empty()) rows.push_back(std::move(fields));
  }
  return rows;
}

}  // namespace

absl::StatusOr<ImageAccount> FindImageAccount(const std::string& tree, const std::string& user) {
  IM_ASSIGN_OR_RETURN(const SafeTree files, SafeTree::Open(tree));
  const size_t colon = user.find(':');
  const std::string name = user.substr(0, colon);
  const auto users = ReadTable(files, "etc/passwd", 6);
  const auto groups = ReadTable(files, "etc/group", 3);
  ImageAccount account;
  const bool numeric = absl::SimpleAtoi(name, &account.uid);
  std::string found_name;
  for (const auto& row : users) {
    uint32_t uid = 0;
    if (!absl::SimpleAtoi(row[2], &uid) || (numeric ? uid != account.uid : row[0] != name))
      continue;
    if (!absl::SimpleAtoi(row[3], &account.gid)) continue;
    account.uid = uid;
    found_name = row[0];
    if (!row[5].empty()) account.home = row[5];
    break;
  }
  if (!numeric && found_name.empty())
    return absl::NotFoundError(absl::StrCat("the image has no user ", name));
  if (colon == std::string::npos) {
    for (const auto& row : groups) {
      uint32_t gid = 0;
      if (row.size() < 4 || found_name.empty() || !absl::SimpleAtoi(row[2], &gid)) continue;
      const std::vector<std::string> members = absl::StrSplit(row[3], ',');
      if (gid != account.gid &&
          std::find(members.begin(), members.end(), found_name) != members.end()) {
        account.groups.push_back(gid);
      }
    }
    return account;
  }
  const std::string group = user.substr(colon + 1);
  if (absl::SimpleAtoi(group, &account.gid)) return account;
  for (const auto& row : groups) {
    if (row[0] == group && absl::SimpleAtoi(row[2], &account.gid)) return account;
  }
  return absl::NotFoundError(absl::StrCat("the image has no group ", group));
}

}  // namespace im::orchestrator
