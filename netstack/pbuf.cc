#include "netstack/pbuf.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace im::netstack {
namespace {

// Frees one pbuf that was taken out of its chain.
void FreeOne(pbuf* p) {
  p->next = nullptr;
  p->tot_len = p->len;
  pbuf_free(p);
}

}  // namespace

pbuf* ToPbuf(std::span<const uint8_t> bytes) {
  if (bytes.size() > kPacketBytesMax) return nullptr;
  pbuf* p = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(bytes.size()), PBUF_RAM);
  if (p != nullptr) std::memcpy(p->payload, bytes.data(), bytes.size());
  return p;
}

Packet& AppendPbuf(PacketBatch& batch, const pbuf* chain) {
  Packet& packet = batch.Append(chain->tot_len);
  uint8_t* to = packet.data;
  for (const pbuf* p = chain;; p = p->next) {
    std::memcpy(to, p->payload, p->len);
    to += p->len;
    // A chain may go on with the next packet's pbufs: tot_len ends it.
    if (p->len == p->tot_len) break;
  }
  return packet;
}

void PbufQueue::Push(pbuf* chain) {
  for (pbuf* p = chain; p != nullptr;) {
    pbuf* next = p->next;
    // Trimming leaves empty pbufs in a chain.
    if (p->len == 0) {
      FreeOne(p);
    } else {
      p->next = nullptr;
      size_ += p->len;
      if (tail_ == nullptr) {
        head_ = p;
      } else {
        tail_->next = p;
      }
      tail_ = p;
    }
    p = next;
  }
}

std::span<const uint8_t> PbufQueue::Front() const {
  if (head_ == nullptr) return {};
  return std::span(static_cast<const uint8_t*>(head_->payload), head_->len).subspan(offset_);
}

void PbufQueue::Drop(size_t n) {
  size_ -= n;
  offset_ += n;
  while (head_ != nullptr && offset_ >= head_->len) {
    pbuf* empty = head_;
    offset_ -= empty->len;
    head_ = head_->next;
    FreeOne(empty);
  }
  if (head_ == nullptr) tail_ = nullptr;
}

size_t PbufQueue::Pop(std::span<uint8_t> out) {
  size_t done = 0;
  while (done < out.size() && head_ != nullptr) {
    const std::span<const uint8_t> front = Front();
    const size_t n = std::min(out.size() - done, front.size());
    std::memcpy(out.data() + done, front.data(), n);
    done += n;
    Drop(n);
  }
  return done;
}

void PbufQueue::Clear() {
  while (head_ != nullptr) {
    pbuf* p = head_;
    head_ = head_->next;
    FreeOne(p);
  }
  tail_ = nullptr;
  offset_ = 0;
  size_ = 0;
}

}  // namespace im::netstack
