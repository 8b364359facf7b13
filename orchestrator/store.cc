#include "orchestrator/store.h"

#include "absl/strings/str_cat.h"
#include "orchestrator/checked_file.h"

namespace im::orchestrator {
namespace {

constexpr absl::string_view kWord = "IMS1";

}  // namespace

absl::StatusOr<std::optional<proto::SavedState>> Store::Load() const {
  const auto damaged = [this](absl::string_view how) {
    return absl::DataLossError(
        absl::StrCat(path_, " is damaged (", how,
                     "): its running instances cannot be taken back; stop their im-agent "
                     "processes, remove the file and start again"));
  };
  const auto bytes = ReadCheckedFile(path_, kWord, kStateBytesMax);
  if (absl::IsDataLoss(bytes.status())) return damaged(bytes.status().message());
  if (!bytes.ok()) return bytes.status();
  if (!bytes->has_value()) return std::optional<proto::SavedState>();
  proto::SavedState state;
  if (!state.ParseFromString(**bytes)) return damaged("not decodable");
  if (state.format() != kStateFormat) {
    return absl::FailedPreconditionError(absl::StrCat(
        path_, " has format ", state.format(), ", this imd knows format ", kStateFormat));
  }
  return std::optional<proto::SavedState>(std::move(state));
}

absl::Status Store::Save(const proto::SavedState& state) const {
  return WriteCheckedFile(path_, kWord, state.SerializeAsString(), Durability::kProcess);
}

absl::Status Store::Remove() const { return RemoveFile(path_); }

}  // namespace im::orchestrator
