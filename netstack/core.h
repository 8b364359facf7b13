// Core: what the parts of a stack share.
//
// lwIP is entered from three sides: packets (Interface), the program (Dial,
// Write …) and time (TcpTimer). It is not re-entrant, and its rules for what a
// callback may do to a connection are many. So no code of the program runs
// inside lwIP: its callbacks only note what happened on the connection, and
// ask to be Deferred. At the end of the turn the noted events are told to the
// handlers, which may do anything, then what lwIP had to send leaves in one
// batch for each interface.

#ifndef IM_NETSTACK_CORE_H_
#define IM_NETSTACK_CORE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/event_loop.h"
#include "base/ip_address.h"
#include "base/random.h"
#include "netstack/pcb_table.h"
#include "netstack/tcp_timer.h"

struct netif;

namespace im::netstack {

class InterfaceImpl;

class Core {
 public:
  // Something with callbacks of the program: a connection, listener or UDP
  // endpoint. May outlive the core; then it is dead (core() is nullptr).
  class Member {
   public:
    explicit Member(Core* core);
    virtual ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    Core* core() const { return core_; }

   protected:
    // Has RunDeferred called at the end of the turn.
    void Defer();

   private:
    friend class Core;
    // Outside lwIP. May destroy the member.
    virtual void RunDeferred() = 0;
    // The stack is going: give back what lwIP holds.
    virtual void OnStackGone() = 0;
    void Unlink();

    Core* core_;
    Member* prev_ = nullptr;  // in the list of deferred ones
    Member* next_ = nullptr;
    bool deferred_ = false;
  };

  explicit Core(EventLoop& loop);
  ~Core();

  // The one that lives, or nullptr. For what lwIP calls without an argument.
  static Core* current();

  EventLoop& loop() { return loop_; }
  TcpTimer& timer() { return timer_; }
  PcbTable& pcbs() { return pcbs_; }

  // To be called before each use of lwIP.
  void Enter() { timer_.Arm(); }
  // The same, of a pcb that is not a listening one.
  void Enter(tcp_pcb& pcb) {
    timer_.Arm();
    pcbs_.Use(pcb);
  }
  // Something waits for the end of the turn.
  void Schedule();
  // Lets out what piled up, if it is much. Outside lwIP only.
  void FlushIfMuch();

  std::vector<std::unique_ptr<InterfaceImpl>>& interfaces() { return interfaces_; }
  // The interface with this address, or nullptr.
  InterfaceImpl* FindInterface(const IpAddress& address);
  bool HasFamily(bool v4) const;
  // The packet that lwIP puts out next stands for several, of so many bytes of
  // payload. lwIP shall not make fragments of it, by whichever interface.
  void ExpectSuperPacket(uint16_t segment_size);
  // For the interface that got it; 0: it is no super-packet.
  uint16_t TakeSegmentSize();
  // Fragments came in: reassembly's timer must run for a while.
  void OnFragment();

  // An initial sequence number (RFC 6528).
  uint32_t InitialSequence(const Endpoint& local, const Endpoint& remote);
  // A free port of `local` for a connection to `remote`, or 0. Where it lies among
  // the others nobody can guess (RFC 6056).
  uint16_t EphemeralPort(const IpAddress& local, const Endpoint& remote);

  // Connections of the program, and half-open ones of its peers.
  int connections = 0;
  int half_open = 0;
  // Bytes that connections of the program have queued: not acknowledged yet.
  size_t queued_bytes = 0;
  // What their receive windows have beyond their first ones.
  uint64_t windows_grown_bytes = 0;
  // While an interface is removed, lwIP aborts its connections.
  bool removing_interface = false;

 private:
  void EndOfTurn();
  void ArmReassembly();

  EventLoop& loop_;
  PcbTable pcbs_;
  TcpTimer timer_;
  std::vector<std::unique_ptr<InterfaceImpl>> interfaces_;
  absl::flat_hash_set<Member*> members_;
  Member* first_deferred_ = nullptr;
  Member* last_deferred_ = nullptr;
  bool scheduled_ = false;
  uint16_t expected_segment_size_ = 0;
  // Expires with the core: functions asked for at the end of a turn check it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  EventLoop::Timer reassembly_timer_;
  Instant reassembly_until_;
  SecureRandom random_;
  std::array<uint8_t, 16> sequence_key_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_CORE_H_
