// Agent: how things stand, for the orchestrator.

#include <unistd.h>

#include <string>

#include "orchestrator/agent/agent.h"

namespace im::agent {

proto::InstanceStatus Agent::MakeStatus() const {
  proto::InstanceStatus status;
  const Instant now = loop_->now();
  pauser_->Describe(now, status);
  // It cannot be called off any more.
  if (stopping_ || (checkpointer_ && checkpointer_->dumping() && !group_disk_.held())) {
    status.set_state(proto::InstanceStatus::RELEASING);
  } else if (refused_release_) {
    status.set_state(proto::InstanceStatus::RELEASE_REFUSED);
  }
  if (pauser_->paused() && request_.idle().tell_connections())
    status.set_connections(static_cast<uint32_t>(attachment_->CountConnections()));
  status.set_not_checkpointed(not_checkpointed_);
  status.set_disk(group_disk_.Describe());
  status.set_not_ready(readiness_.Reason());
  if (program_ != 0) {
    status.set_memory_bytes(cgroup_->MemoryBytes());
    status.set_cpu_ns(static_cast<uint64_t>(cgroup_->CpuTime().count()));
  }
  status.set_inside_rx_bytes(data_path_->rx_bytes());
  status.set_inside_tx_bytes(data_path_->tx_bytes());
  if (const auto gateway = driver_->device().GetPeer(gateway_))
    status.set_gateway_bytes(gateway->rx_bytes + gateway->tx_bytes);
  status.set_direct_peers(static_cast<uint32_t>(peers_->up()));
  peers_->Describe(now, status);
  status.set_held_packets(static_cast<uint32_t>(held_packets_));
  status.set_agent_pid(static_cast<uint32_t>(getpid()));
  status.set_program_pid(static_cast<uint32_t>(program_));
  status.set_listening(data_path_->listening());
  if (const auto answer = data_path_->first_answer())
    status.set_first_answer_ns(static_cast<uint64_t>(answer->count()));
  Drops().ForEach([&](absl::string_view reason, uint64_t count) {
    (*status.mutable_drops())[std::string(reason)] = count;
  });
  return status;
}

DropCounters Agent::Drops() const {
  DropCounters all = driver_->Drops();
  all.Add(data_path_->drops());
  all.Add(attachment_->drops());
  return all;
}

}  // namespace im::agent
