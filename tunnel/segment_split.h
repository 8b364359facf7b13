// SegmentSplitter lives in base/, since TUN devices without offload cut too.

#ifndef IM_TUNNEL_SEGMENT_SPLIT_H_
#define IM_TUNNEL_SEGMENT_SPLIT_H_

#include "base/segment_split.h"

#endif  // IM_TUNNEL_SEGMENT_SPLIT_H_
