#include "orchestrator/agent/criu_images.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/ip_address.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

constexpr size_t kMagicBytes = 8;
constexpr uint32_t kEstablished = 1;   // TCP_ESTABLISHED
constexpr uint32_t kTimestamps = 1;    // TCPI_OPT_TIMESTAMPS
constexpr uint32_t kWindowScaling = 4;  // TCPI_OPT_WSCALE
constexpr uint32_t kFamilyV4 = 2;
constexpr uint32_t kFamilyV6 = 10;
constexpr uint32_t kProtocolTcp = 6;

// CRIU copies addresses as words: network order in memory. "" if it is none, or
// the machine itself.
std::string AddressOf(uint32_t family, const google::protobuf::RepeatedField<uint32_t>& words) {
  std::string bytes;
  for (const uint32_t word : words) bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  constexpr absl::string_view kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  if (family == kFamilyV6 && bytes.size() == 16 && absl::string_view(bytes).substr(0, 12) == kMapped)
    bytes.erase(0, 12);
  else if (family == kFamilyV4)
    bytes.resize(std::min<size_t>(bytes.size(), 4));
  if (bytes.size() != 4 && bytes.size() != 16) return "";
  constexpr absl::string_view kLoopback6("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
  return bytes == kLoopback6 || (bytes.size() == 4 && bytes[0] == 127) ? "" : bytes;
}

}  // namespace

std::vector<absl::string_view> ImageMessages(absl::string_view image) {
  std::vector<absl::string_view> messages;
  if (image.size() < kMagicBytes) return messages;
  image.remove_prefix(kMagicBytes);
  uint32_t size = 0;
  while (image.size() >= sizeof(size)) {
    std::memcpy(&size, image.data(), sizeof(size));
    image.remove_prefix(sizeof(size));
    if (size > image.size()) break;
    messages.push_back(image.substr(0, size));
    image.remove_prefix(size);
  }
  return messages;
}

std::optional<proto::KeptConnection> ConnectionOf(const proto::CriuInetSocket& socket,
                                                  const proto::CriuTcpStream& stream) {
  if (socket.proto() != kProtocolTcp || socket.state() != kEstablished) return std::nullopt;
  proto::KeptConnection connection;
  connection.set_peer(AddressOf(socket.family(), socket.dst_addr()));
  if (connection.peer().empty()) return std::nullopt;
  connection.set_port(socket.src_port());
  connection.set_peer_port(socket.dst_port());
  connection.set_receive_next(stream.inq_seq());
  connection.set_send_next(stream.outq_seq() - stream.unsq_len());
  connection.set_unacknowledged(stream.outq_len() > stream.unsq_len());
  connection.set_unsent(stream.unsq_len() > 0);
  const uint32_t scale = (stream.opt_mask() & kWindowScaling) != 0 ? stream.rcv_wscale() : 0;
  connection.set_window(std::min<uint32_t>(stream.rcv_wnd() >> std::min(scale, 14u), UINT16_MAX));
  if ((stream.opt_mask() & kTimestamps) != 0) connection.set_timestamp(stream.timestamp());
  return connection;
}

std::vector<proto::KeptConnection> ReadConnections(const std::string& directory) {
  std::vector<proto::KeptConnection> connections;
  const std::string files = ReadSmallFile(absl::StrCat(directory, "/files.img"));
  for (const absl::string_view message : ImageMessages(files)) {
    proto::CriuFile file;
    if (!file.ParseFromArray(message.data(), static_cast<int>(message.size())) || !file.has_isk())
      continue;
    const std::string image = ReadSmallFile(
        absl::StrFormat("%s/tcp-stream-%x.img", directory, file.isk().ino()));
    const std::vector<absl::string_view> messages = ImageMessages(image);
    proto::CriuTcpStream stream;
    if (messages.empty() ||
        !stream.ParseFromArray(messages[0].data(), static_cast<int>(messages[0].size())))
      continue;
    if (std::optional<proto::KeptConnection> connection = ConnectionOf(file.isk(), stream))
      connections.push_back(*std::move(connection));
    if (connections.size() == kConnectionsMax) break;
  }
  return connections;
}

}  // namespace im::agent
