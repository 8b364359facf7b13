// A TUN device (Linux tuntap.rst) with segmentation offload.
//
// With IFF_VNET_HDR one read gives a super-packet of up to 64 KB and one write
// takes one; without it (old kernels, or switched off) packets are cut and
// completed here, so that callers never see the difference.

#ifndef IM_BASE_TUN_DEVICE_H_
#define IM_BASE_TUN_DEVICE_H_

#include <cstdint>
#include <span>
#include <string>

#include "base/counters.h"
#include "base/file_descriptor.h"
#include "base/packet.h"
#include "base/status.h"

namespace im {

// Owned by one thread.
class TunDevice {
 public:
  struct Options {
    std::string name = "im0";  // may contain %d; at most 15 bytes
    bool offload = true;       // IFF_VNET_HDR with TSO4/6 and, where there, USO
  };

  // Makes the device in the calling thread's network namespace; the device
  // stays there and the descriptor works from anywhere.
  static absl::StatusOr<TunDevice> Create(const Options& options);
  // Takes a descriptor of a device made elsewhere (with these options).
  static absl::StatusOr<TunDevice> Adopt(FileDescriptor fd, const Options& options);

  int fd() const { return fd_.get(); }  // non-blocking
  const std::string& name() const { return name_; }
  bool offload() const { return offload_; }
  // The network namespace that the device is in now, and its name there: both
  // may have changed since it was made (ip link set … netns … name …). An
  // error when the device is gone, or with a kernel before 5.2 and no right to
  // ask.
  absl::StatusOr<FileDescriptor> NetworkNamespace() const;
  absl::StatusOr<std::string> CurrentName() const;
  FileDescriptor ReleaseFd() { return std::move(fd_); }

  // Appends the packets that are there, at most `packets_max` reads.
  // OK also when there was none; an error when the device is gone.
  absl::Status Read(PacketBatch& batch, int packets_max);
  // Gives the packets to the kernel. What the kernel refuses is counted.
  void Write(PacketBatch& batch, DropCounters& drops);

 private:
  TunDevice() = default;
  // One packet; false if it was refused, with errno.
  bool WriteOne(std::span<const uint8_t> header, std::span<const uint8_t> packet);
  void WriteCut(const Packet& packet, DropCounters& drops);
  void WriteOffloaded(Packet& packet, DropCounters& drops);

  FileDescriptor fd_;
  std::string name_;
  bool offload_ = false;
  bool udp_offload_ = false;  // USO (Linux 6.2)
};

}  // namespace im

#endif  // IM_BASE_TUN_DEVICE_H_
