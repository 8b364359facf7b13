// Attachment: how a program's packets reach the agent.
//
//   TunAttachment        the kernel of the host's own network namespace, behind a
//                        TUN device
//   NetstackAttachment   lwIP in the agent, for a program without any privilege
//
// DataPath knows what a packet means; an attachment moves it. It keeps what
// comes before the program listens, so that a caller of a host that has just
// been started is not refused: for each packet in, and each packet out while
// the program is young, it says whether it goes on.

#ifndef IM_ORCHESTRATOR_AGENT_ATTACHMENT_H_
#define IM_ORCHESTRATOR_AGENT_ATTACHMENT_H_

#include <cstddef>

#include "base/clock.h"
#include "base/counters.h"
#include "base/file_descriptor.h"
#include "base/ip_header.h"
#include "base/packet.h"
#include "base/status.h"

namespace im::agent {

class Attachment {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // What the program's network sends.
    virtual void OnFromProgram(PacketBatch batch) = 0;
    // Answers to packets that were kept, in the name of the program's network.
    virtual void OnRefusals(PacketBatch batch) = 0;
  };

  virtual ~Attachment() = default;

  // A descriptor that the host's init hands over (sandbox_init.h).
  virtual absl::Status Adopt(FileDescriptor fd) = 0;
  // The program is being started: from now on it is young. Again when it has
  // been started, which counts the time anew.
  virtual void OnProgramStart(Instant now) = 0;
  // The program has ended: takes what its network still has to say, and refuses
  // what was kept for it and what comes from now on.
  virtual void OnProgramEnd() = 0;
  // After that: so have all others of the host's processes.
  virtual void OnProcessesGone() = 0;

  // All of the host's processes are frozen, or no longer.
  virtual void OnPausedOrThawed(bool paused) = 0;

  // To the program.
  virtual void Write(PacketBatch batch) = 0;
  // Whether a packet is to be written to the program now; else it is kept, and
  // written when the program listens. Preconditions: `view` is of `packet`.
  virtual bool LetIn(const Packet& packet, const IpView& view) = 0;
  // Whether a packet of OnFromProgram may leave.
  virtual bool LetOut(const Packet& packet, const IpView& view) = 0;

  // Packets that wait for the program to listen.
  virtual size_t held() const = 0;
  // When to call OnTimer; kNever: nothing is due.
  virtual Instant NextDeadline() const = 0;
  virtual void OnTimer() = 0;

  // For the idle policy: established connections with other hosts.
  virtual int CountConnections() const = 0;
  // Threads of the host whose calls the agent has yet to answer. They sleep, but
  // in a way that looks like a wait for a disk.
  virtual int CountWaitingCalls() const = 0;

  virtual const DropCounters& drops() const = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_ATTACHMENT_H_
