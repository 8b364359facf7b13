// ImageStore: the images of this machine, as directories that hosts begin with.
//
//   ROOT/                    0700: files in it may have set-user-ID bits
//     refs/NAME.json         what the image NAME is, and in which directory; replaced as a
//                            whole. NAME is escaped: "team%2Fweb%3A1"
//     trees/NAME~N/          its files, never changed once a ref names it
//     trees/.new-XXXXXX/     an import that is under way, or that was killed
//
// Who uses a tree holds a shared lock on its directory (LockImage): imd for the images of its
// cluster, and the agent of each instance. A tree that no ref names and nobody uses is removed by
// the next import or removal. So an image can be imported anew while hosts run.

#ifndef IM_ORCHESTRATOR_IMAGE_IMAGE_STORE_H_
#define IM_ORCHESTRATOR_IMAGE_IMAGE_STORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/image/image_config.h"

namespace im::orchestrator {

struct StoredImage {
  std::string name;  // canonical
  std::string tree;  // absolute path of its files
  ImageConfig config;
  int64_t imported_unix_s = 0;
  uint64_t bytes = 0;     // on the disk
  std::string source;     // what it was imported from
};

// Below the root of all clusters' data.
std::string ImageRoot(const std::string& data_root);

// Until the descriptor is closed, the tree stays. NotFound: it is gone.
absl::StatusOr<FileDescriptor> LockImage(const std::string& tree);

class ImageStore {
 public:
  explicit ImageStore(std::string root) : root_(std::move(root)) {}

  // `name` as CanonicalImageName takes it. NotFound: there is no such image.
  absl::StatusOr<StoredImage> Find(const std::string& name) const;
  // By name.
  absl::StatusOr<std::vector<StoredImage>> List() const;

  // A new empty tree, to be filled and given to Commit or Discard.
  absl::StatusOr<std::string> NewTree() const;
  void Discard(const std::string& tree) const;
  // `image.tree` is from NewTree; the image takes the place of one of the same name. Afterwards
  // image.tree is where it is for good.
  absl::Status Commit(StoredImage& image) const;

  // FailedPrecondition: hosts use it.
  absl::Status Remove(const std::string& name) const;

 private:
  std::string RefPath(const std::string& name) const;
  absl::StatusOr<StoredImage> ReadRef(const std::string& path) const;
  void Sweep() const;

  const std::string root_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMAGE_IMAGE_STORE_H_
