#include "tunnel/message.h"

#include <cstring>

#include "base/check.h"

namespace im::tunnel {

std::optional<MessageType> ClassifyMessage(Bytes datagram) {
  if (datagram.size() < sizeof(MessageHeader)) return std::nullopt;
  if (datagram[1] != 0 || datagram[2] != 0 || datagram[3] != 0) return std::nullopt;
  const size_t size = datagram.size();
  switch (datagram[0]) {
    case static_cast<uint8_t>(MessageType::kInitiation):
      if (size == sizeof(InitiationMessage)) return MessageType::kInitiation;
      break;
    case static_cast<uint8_t>(MessageType::kResponse):
      if (size == sizeof(ResponseMessage)) return MessageType::kResponse;
      break;
    case static_cast<uint8_t>(MessageType::kCookieReply):
      if (size == sizeof(CookieReplyMessage)) return MessageType::kCookieReply;
      break;
    case static_cast<uint8_t>(MessageType::kTransport):
      if (size >= kTransportOverhead) return MessageType::kTransport;
      break;
    default:
      break;
  }
  return std::nullopt;
}

template <typename Message>
Message ReadMessage(Bytes datagram) {
  IM_CHECK(datagram.size() >= sizeof(Message));
  Message message;
  std::memcpy(&message, datagram.data(), sizeof(message));
  return message;
}
template InitiationMessage ReadMessage(Bytes);
template ResponseMessage ReadMessage(Bytes);
template CookieReplyMessage ReadMessage(Bytes);
template TransportHeader ReadMessage(Bytes);

}  // namespace im::tunnel
