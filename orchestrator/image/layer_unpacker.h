// LayerUnpacker: tar archives, laid one over the other in a directory.
//
// [OCI] OCI Image Format Specification 1.1, layer.md: an image's file system is its layers,
// each a tar archive of what it adds or replaces; "whiteouts" say what it takes away:
// ".wh.NAME" the entry NAME, ".wh..wh..opq" all that lower layers have in that directory.
// libarchive reads the archives (ustar, pax, GNU; gzip, zstd, xz, bzip2); SafeTree keeps all
// that is written within the directory.
//
// Kept: owners, modes with set-user-ID bits, times of files, extended attributes of the
// kinds user. and security.capability, hard and symbolic links, FIFOs. Left out, and
// counted: device files and sockets, of which a host has its own.
//
// What it takes: the files' bytes, at most Limits of them. Needs root, for the owners.

#ifndef IM_ORCHESTRATOR_IMAGE_LAYER_UNPACKER_H_
#define IM_ORCHESTRATOR_IMAGE_LAYER_UNPACKER_H_

#include <cstdint>
#include <set>
#include <string>

#include "base/status.h"
#include "orchestrator/image/safe_tree.h"

struct archive;
struct archive_entry;

namespace im::orchestrator {

class LayerUnpacker {
 public:
  struct Limits {
    // Of all layers together: what large images of today have, several times over. An
    // archive of a few KB may stand for any number.
    uint64_t bytes_max = uint64_t{64} << 30;
    uint64_t entries_max = 4'000'000;
    // The file system keeps so much free space.
    uint64_t free_bytes_min = uint64_t{256} << 20;
  };
  enum class Kind {
    kLayer,  // with whiteouts
    kPlain,  // any other tar archive
  };

  LayerUnpacker(SafeTree tree, const Limits& limits) : tree_(std::move(tree)), limits_(limits) {}

  // `archive_fd`: a file, read from where it stands. An error names the entry that it is about;
  // what was written before it stays.
  absl::Status Unpack(int archive_fd, Kind kind);

  uint64_t left_out() const { return left_out_; }  // device files and sockets

 private:
  absl::Status Put(archive* reader, archive_entry* entry);
  absl::Status TakeAway(int parent, const std::string& path, const std::string& marker);
  absl::Status ClearLower(const std::string& directory);
  absl::Status PutFile(archive* reader, archive_entry* entry, int parent, const std::string& name);
  absl::Status PutHardLink(const std::string& target, int parent, const std::string& name);
  absl::Status PutDirectory(int parent, const std::string& name);
  absl::Status CopyData(archive* reader, int file);
  absl::Status Charge(uint64_t bytes);

  SafeTree tree_;
  const Limits limits_;
  Kind kind_ = Kind::kLayer;
  uint64_t bytes_ = 0;
  uint64_t entries_ = 0;
  uint64_t next_space_check_ = 0;
  uint64_t left_out_ = 0;
  // Of the layer at hand: its whiteouts are about lower ones.
  std::set<std::string> put_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMAGE_LAYER_UNPACKER_H_
