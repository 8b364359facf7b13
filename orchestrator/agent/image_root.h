// The root directory of a host that begins with an image.
//
//   /                   overlayfs: the image's files, never changed, under a layer of the host's
//                       own, in which everything is that it writes, removes or changes
//   /proc /sys /dev     made anew: of /dev the usual devices, /dev/pts and /dev/shm
//   /etc/hosts …        ours (inside.h)
//   mounts              of the program, made where the image has nothing in their place
//
// Where something is mounted is looked up after the root was changed: no link of an image leads out
// of it. What is mounted is opened before, for afterwards it has no path.
//
// This is no wall: the program has the rights of its user, root's if it is root, as that of
// a host without an image.

#ifndef IM_ORCHESTRATOR_AGENT_IMAGE_ROOT_H_
#define IM_ORCHESTRATOR_AGENT_IMAGE_ROOT_H_

#include "base/status.h"
#include "proto/agent.pb.h"

namespace im::agent {

// In a new mount namespace whose mounts are private. The calling process holds a lock on the
// image from now on to its end, so that nobody removes it.
absl::Status EnterImage(const proto::StartRequest& request);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_IMAGE_ROOT_H_
