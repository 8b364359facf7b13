#include "orchestrator/agent/intercept/program_message.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>

#include "orchestrator/agent/intercept/socket_address.h"

namespace im::agent {

static_assert(sizeof(msghdr) == kManyMessagesLength);
static_assert(sizeof(mmsghdr) == kManyMessagesStride);

ProgramMessage ProgramMessage::OfBuffer(uint64_t buffer, uint64_t size) {
  ProgramMessage message;
  message.pieces.push_back({reinterpret_cast<void*>(buffer), size});
  message.size = size;
  return message;
}

int ProgramMessage::ReadHeader(const PendingCall& call, uint64_t at) {
  msghdr copy;
  if (const int error = call.Read(at, &copy, sizeof(copy)); error != 0) return error;
  if (copy.msg_iovlen > IOV_MAX) return EMSGSIZE;
  pieces.resize(copy.msg_iovlen);
  const int error = call.Read(reinterpret_cast<uint64_t>(copy.msg_iov), pieces.data(),
                              pieces.size() * sizeof(iovec));
  if (error != 0) return error;
  size = 0;
  for (const iovec& piece : pieces) {
    if (piece.iov_len > SSIZE_MAX - size) return EINVAL;
    size += piece.iov_len;
  }
  name = reinterpret_cast<uint64_t>(copy.msg_name);
  name_size = copy.msg_namelen;
  name_size_at = at + offsetof(msghdr, msg_namelen);
  header = at;
  return 0;
}

int ProgramMessage::Gather(const PendingCall& call, std::vector<uint8_t>& bytes) const {
  if (size > kDatagramBytesMax) return EMSGSIZE;
  bytes.resize(size);
  size_t done = 0;
  for (const iovec& piece : pieces) {
    const int error =
        call.Read(reinterpret_cast<uint64_t>(piece.iov_base), bytes.data() + done, piece.iov_len);
    if (error != 0) return error;
    done += piece.iov_len;
  }
  return 0;
}

int ProgramMessage::Scatter(const PendingCall& call, std::span<const uint8_t> bytes) const {
  for (const iovec& piece : pieces) {
    const size_t n = std::min(piece.iov_len, bytes.size());
    const int error = call.Write(reinterpret_cast<uint64_t>(piece.iov_base), bytes.data(), n);
    if (error != 0) return error;
    bytes = bytes.subspan(n);
  }
  return 0;
}

int ProgramMessage::WriteSource(const PendingCall& call, const Endpoint& from, int family,
                                int flags) const {
  int error = 0;
  if (name != 0) {
    error = WriteAddress(call, name, name_size_at, from, family);
  } else if (header != 0) {
    const uint32_t none = 0;
    error = call.Write(name_size_at, &none, sizeof(none));
  }
  if (header == 0 || error != 0) return error;
  const size_t no_control = 0;
  error = call.Write(header + offsetof(msghdr, msg_controllen), &no_control, sizeof(no_control));
  if (error != 0) return error;
  return call.Write(header + offsetof(msghdr, msg_flags), &flags, sizeof(flags));
}

}  // namespace im::agent
