#include "tunnel/gso_batch_writer.h"

#include <errno.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace im::tunnel {
namespace {

constexpr size_t kSendControlBytes =
    CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(int));

socklen_t FillAddress(const Endpoint& peer, bool v6_socket, sockaddr_storage& out) {
  if (!v6_socket) return peer.ToSockaddr(out);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(peer.port);
  std::memcpy(&address.sin6_addr, peer.address.mapped().data(), sizeof(address.sin6_addr));
  address.sin6_scope_id = peer.scope;
  std::memcpy(&out, &address, sizeof(address));
  return sizeof(address);
}

// Adds control messages one behind the other.
class ControlWriter {
 public:
  explicit ControlWriter(char* buffer) : buffer_(buffer) {}

  template <typename Value>
  void Add(int level, int type, const Value& value) {
    cmsghdr header = {};
    header.cmsg_level = level;
    header.cmsg_type = type;
    header.cmsg_len = CMSG_LEN(sizeof(Value));
    std::memcpy(buffer_ + size_, &header, sizeof(header));
    std::memcpy(buffer_ + size_ + CMSG_LEN(0), &value, sizeof(Value));
    size_ += CMSG_SPACE(sizeof(Value));
  }
  size_t size() const { return size_; }

 private:
  char* buffer_;
  size_t size_ = 0;
};

size_t SegmentSize(const DatagramRun& run) {
  return run.segment_size != 0 ? run.segment_size : run.bytes.size();
}

}  // namespace

struct GsoBatchWriter::Messages {
  unsigned count = 0;
  std::array<mmsghdr, kMessagesPerSend> headers;
  std::array<iovec, kMessagesPerSend> parts;
  std::array<sockaddr_storage, kMessagesPerSend> addresses;
  // Of each message: has UDP_SEGMENT; has a local address.
  std::array<bool, kMessagesPerSend> train;
  std::array<bool, kMessagesPerSend> with_local;
  alignas(cmsghdr) char control[kMessagesPerSend][kSendControlBytes];
};

GsoBatchWriter::GsoBatchWriter(Sender& sender, bool v6_socket, DropCounters& drops)
    : sender_(sender),
      v6_socket_(v6_socket),
      drops_(drops),
      messages_(std::make_unique<Messages>()) {}

GsoBatchWriter::~GsoBatchWriter() = default;

void GsoBatchWriter::Write(DatagramBatch& batch) {
  if (batch.empty()) return;
  Cursor cursor;
  // Nothing overtakes what waits already.
  if (blocked() || !SendFrom(batch, cursor)) Keep(batch, cursor);
  batch.Clear();
}

void GsoBatchWriter::OnWritable() {
  while (!unsent_.empty()) {
    if (!SendFrom(unsent_.front().batch, unsent_.front().cursor)) return;
    unsent_bytes_ -= unsent_.front().bytes;
    unsent_.pop_front();
  }
}

void GsoBatchWriter::Keep(DatagramBatch& batch, Cursor cursor) {
  size_t bytes = 0;
  uint64_t datagrams = 0;
  for (size_t i = cursor.run; i < batch.runs().size(); ++i) {
    const DatagramRun& run = batch.runs()[i];
    const size_t left = run.bytes.size() - (i == cursor.run ? cursor.offset : 0);
    bytes += left;
    if (left > 0) datagrams += (left + SegmentSize(run) - 1) / SegmentSize(run);
  }
  if (unsent_bytes_ + bytes > kUnsentBytesMax) {
    drops_.Add(DropReason::kQueueFull, datagrams);
    return;
  }
  unsent_bytes_ += bytes;
  unsent_.push_back({std::move(batch), cursor, bytes});
  batch = DatagramBatch();
}

bool GsoBatchWriter::SendFrom(DatagramBatch& batch, Cursor& cursor) {
  while (true) {
    Fill(batch, cursor);
    if (messages_->count == 0) return true;
    mmsghdr* const headers = messages_->headers.data();
    const int sent = batch.runs()[cursor.run].probe != 0
                         ? sender_.SendUnfragmented(headers)
                         : sender_.Send(headers, messages_->count);
    if (sent > 0) {
      for (int i = 0; i < sent; ++i) {
        if (run_singly_) StartSingly(batch.runs()[cursor.run].peer);
        const size_t bytes = messages_->parts[i].iov_len;
        sent_bytes_ += bytes;
        Advance(batch, cursor, bytes);
      }
      continue;
    }
    if (sent == 0 || errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno != EINTR) HandleError(errno, batch, cursor);
  }
}

void GsoBatchWriter::Advance(const DatagramBatch& batch, Cursor& cursor, size_t bytes) {
  cursor.offset += bytes;
  run_retried_ = false;
  if (cursor.offset < batch.runs()[cursor.run].bytes.size()) return;
  CountSinglyRun(batch.runs()[cursor.run].peer);
  run_singly_ = run_without_local_ = false;
  cursor = {cursor.run + 1, 0};
}

// Makes messages of what follows `cursor`, stepping over empty runs.
void GsoBatchWriter::Fill(const DatagramBatch& batch, Cursor& cursor) {
  const std::vector<DatagramRun>& runs = batch.runs();
  while (cursor.run < runs.size() && runs[cursor.run].bytes.empty()) cursor = {cursor.run + 1, 0};
  messages_->count = 0;
  for (size_t i = cursor.run; i < runs.size(); ++i) {
    const DatagramRun& run = runs[i];
    const bool first = i == cursor.run;
    if (run.probe != 0 && !first) return;
    const size_t segment = SegmentSize(run);
    if (!asked_ && gso_ && run.bytes.size() > segment) {
      asked_ = true;
      gso_ = sender_.CanSendTrains();
    }
    const bool trains = gso_ && !(first && run_singly_) && !Singly(run.peer);
    const size_t bytes_max =
        trains ? std::max<size_t>(1, std::min(kGsoSegmentsMax, kGsoBytesMax / segment)) * segment
               : segment;
    for (size_t offset = first ? cursor.offset : 0; offset < run.bytes.size();) {
      if (messages_->count == kMessagesPerSend) return;
      const size_t bytes = std::min(bytes_max, run.bytes.size() - offset);
      AddMessage(run, run.bytes.subspan(offset, bytes), !(first && run_without_local_));
      offset += bytes;
    }
    if (run.probe != 0) return;
  }
}

void GsoBatchWriter::AddMessage(const DatagramRun& run, std::span<uint8_t> bytes,
                                bool with_local) {
  const unsigned i = messages_->count++;
  const bool train = bytes.size() > SegmentSize(run);
  with_local = with_local && !run.local.is_unspecified();
  messages_->parts[i] = {bytes.data(), bytes.size()};
  messages_->train[i] = train;
  messages_->with_local[i] = with_local;

  msghdr& header = messages_->headers[i].msg_hdr;
  header = {};
  header.msg_name = &messages_->addresses[i];
  header.msg_namelen = FillAddress(run.peer, v6_socket_, messages_->addresses[i]);
  header.msg_iov = &messages_->parts[i];
  header.msg_iovlen = 1;

  ControlWriter control(messages_->control[i]);
  if (train) control.Add(SOL_UDP, UDP_SEGMENT, static_cast<uint16_t>(run.segment_size));
  if (with_local && v6_socket_) {
    in6_pktinfo info = {};
    std::memcpy(&info.ipi6_addr, run.local.mapped().data(), sizeof(info.ipi6_addr));
    control.Add(IPPROTO_IPV6, IPV6_PKTINFO, info);
  } else if (with_local && run.local.is_v4()) {
    in_pktinfo info = {};
    info.ipi_spec_dst.s_addr = htonl(run.local.v4());
    control.Add(IPPROTO_IP, IP_PKTINFO, info);
  }
  if (run.ecn != 0) {
    const int traffic_class = run.ecn & 3;
    if (run.peer.address.is_v4()) {
      control.Add(IPPROTO_IP, IP_TOS, traffic_class);
    } else {
      control.Add(IPPROTO_IPV6, IPV6_TCLASS, traffic_class);
    }
  }
  if (control.size() > 0) {
    header.msg_control = messages_->control[i];
    header.msg_controllen = control.size();
  }
}

// The first message was refused: changes how it is tried again, or drops it.
void GsoBatchWriter::HandleError(int error, const DatagramBatch& batch, Cursor& cursor) {
  const bool train = messages_->train[0];
  const bool with_local = messages_->with_local[0];
  if (error == ECONNREFUSED && !run_retried_) {
    run_retried_ = true;
  } else if (error == EIO && train) {
    gso_ = false;
    IM_LOG(kWarning, "this path cannot carry UDP_SEGMENT; datagrams are sent one by one");
  } else if ((error == EINVAL || error == EMSGSIZE) && train) {
    run_singly_ = true;
  } else if ((error == EINVAL || error == ENETUNREACH) && with_local) {
    run_without_local_ = true;
    run_singly_ = false;
  } else if (error == EMSGSIZE && batch.runs()[cursor.run].probe != 0) {
    refused_probes_.push_back(batch.runs()[cursor.run].probe);
    Advance(batch, cursor, messages_->parts[0].iov_len);
  } else {
    const DatagramRun& run = batch.runs()[cursor.run];
    const size_t bytes = messages_->parts[0].iov_len;
    drops_.Add(error == EMSGSIZE ? DropReason::kTooBig : DropReason::kSendFailed,
               (bytes + SegmentSize(run) - 1) / SegmentSize(run));
    Advance(batch, cursor, bytes);
  }
}

bool GsoBatchWriter::Singly(const Endpoint& peer) const {
  return std::any_of(singly_.begin(), singly_.end(), [&](const SinglyPeer& entry) {
    return entry.runs_left > 0 && entry.peer == peer;
  });
}

void GsoBatchWriter::StartSingly(const Endpoint& peer) {
  if (Singly(peer)) return;
  singly_[next_singly_] = {peer, kSinglyRuns};
  next_singly_ = (next_singly_ + 1) % singly_.size();
}

void GsoBatchWriter::CountSinglyRun(const Endpoint& peer) {
  for (SinglyPeer& entry : singly_) {
    if (entry.runs_left > 0 && entry.peer == peer) --entry.runs_left;
  }
}

}  // namespace im::tunnel
