// PacketSink: the only data interface between folders.

#ifndef IM_BASE_PACKET_SINK_H_
#define IM_BASE_PACKET_SINK_H_

#include "base/packet.h"

namespace im {

class PacketSink {
 public:
  virtual ~PacketSink() = default;

  // Takes the packets. Called on the data plane's thread; may be called again
  // from within by the receiver's own output, so a sink must not rely on the
  // caller's state. A sink that is full drops and counts.
  virtual void Write(PacketBatch batch) = 0;
};

}  // namespace im

#endif  // IM_BASE_PACKET_SINK_H_
