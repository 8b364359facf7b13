// SpecWriter: a ClusterSpec as a cluster.yaml that says the same.
//
// What the file that it was read from was like is forgotten: variables are replaced, anchors and
// env_file are in their places, paths are absolute, and fields that have their default are left
// out. Read again, it gives an equal spec, but for positions.

#ifndef IM_ORCHESTRATOR_SPEC_SPEC_WRITER_H_
#define IM_ORCHESTRATOR_SPEC_SPEC_WRITER_H_

#include <string>

#include "orchestrator/cluster_spec.h"

namespace im::orchestrator {

std::string WriteClusterSpec(const ClusterSpec& spec);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_SPEC_WRITER_H_
