// Images out of files: an OCI image layout, an archive of `docker save`, a directory, or a tar
// archive of a root file system.
//
//   OCI layout    directory, or tar of one: `oci-layout`, index.json, blobs/. Of several images
//                 the one that is called by `name`, or for this machine's architecture. Each
//                 blob's digest is checked.
//   docker save   tar, or the directory that it unpacks to: manifest.json, which names layers
//   directory     anything else: its files are copied as they are (one file system)
//   tar           anything else, also compressed
//
// The latter two say nothing of how their program is run: a host names its command.
//
// [OCI] OCI Image Format Specification 1.1: image-layout.md, image-index.md, manifest.md.

#ifndef IM_ORCHESTRATOR_IMAGE_IMAGE_IMPORT_H_
#define IM_ORCHESTRATOR_IMAGE_IMAGE_IMPORT_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "orchestrator/image/image_store.h"
#include "orchestrator/image/layer_unpacker.h"

namespace im::orchestrator {

struct ImportedImage {
  StoredImage image;
  std::vector<std::string> warnings;  // what was left out, or may not work
};

// `source` as `name`. Needs root. Nothing is changed by a failure.
absl::StatusOr<ImportedImage> ImportImage(const ImageStore& store, const std::string& name,
                                          const std::string& source, int64_t now_unix_s,
                                          const LayerUnpacker::Limits& limits = {});

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMAGE_IMAGE_IMPORT_H_
