// The four messages of the protocol as they are on the wire, [W] 5.4.
//
// All fields are byte arrays, so a message may lie at any address; integers
// are little-endian. Parsing checks type, reserved bytes and size, once.

#ifndef IM_TUNNEL_MESSAGE_H_
#define IM_TUNNEL_MESSAGE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tunnel/crypto.h"

namespace im::tunnel {

enum class MessageType : uint8_t {
  kInitiation = 1,
  kResponse = 2,
  kCookieReply = 3,
  kTransport = 4,
};

// An integer of N bytes in wire order.
template <typename T>
struct LittleEndian {
  std::array<uint8_t, sizeof(T)> bytes{};

  LittleEndian() = default;
  LittleEndian(T value) { *this = value; }  // NOLINT: as good as a T
  LittleEndian& operator=(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
    return *this;
  }
  operator T() const {  // NOLINT
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= T{bytes[i]} << (8 * i);
    return value;
  }
};

// The type byte and three reserved bytes, which are zero.
struct MessageHeader {
  uint8_t type = 0;
  std::array<uint8_t, 3> reserved{};
};

using SealedKey = std::array<uint8_t, kKeyBytes + kTagBytes>;
inline constexpr size_t kTimestampBytes = 12;
using SealedTimestamp = std::array<uint8_t, kTimestampBytes + kTagBytes>;

// [W] 5.4.2
struct InitiationMessage {
  MessageHeader header{static_cast<uint8_t>(MessageType::kInitiation)};
  LittleEndian<uint32_t> sender;
  PublicKey ephemeral;
  SealedKey sealed_static;
  SealedTimestamp sealed_timestamp;
  Mac mac1{};
  Mac mac2{};
};
static_assert(sizeof(InitiationMessage) == 148);
static_assert(offsetof(InitiationMessage, sender) == 4);
static_assert(offsetof(InitiationMessage, ephemeral) == 8);
static_assert(offsetof(InitiationMessage, sealed_static) == 40);
static_assert(offsetof(InitiationMessage, sealed_timestamp) == 88);
static_assert(offsetof(InitiationMessage, mac1) == 116);
static_assert(offsetof(InitiationMessage, mac2) == 132);
static_assert(alignof(InitiationMessage) == 1);

// [W] 5.4.3
struct ResponseMessage {
  MessageHeader header{static_cast<uint8_t>(MessageType::kResponse)};
  LittleEndian<uint32_t> sender;
  LittleEndian<uint32_t> receiver;
  PublicKey ephemeral;
  std::array<uint8_t, kTagBytes> sealed_empty;
  Mac mac1{};
  Mac mac2{};
};
static_assert(sizeof(ResponseMessage) == 92);
static_assert(offsetof(ResponseMessage, receiver) == 8);
static_assert(offsetof(ResponseMessage, ephemeral) == 12);
static_assert(offsetof(ResponseMessage, sealed_empty) == 44);
static_assert(offsetof(ResponseMessage, mac1) == 60);
static_assert(offsetof(ResponseMessage, mac2) == 76);
static_assert(alignof(ResponseMessage) == 1);

// [W] 5.4.7
struct CookieReplyMessage {
  MessageHeader header{static_cast<uint8_t>(MessageType::kCookieReply)};
  LittleEndian<uint32_t> receiver;
  std::array<uint8_t, kXNonceBytes> nonce;
  std::array<uint8_t, kMacBytes + kTagBytes> sealed_cookie;
};
static_assert(sizeof(CookieReplyMessage) == 64);
static_assert(offsetof(CookieReplyMessage, nonce) == 8);
static_assert(offsetof(CookieReplyMessage, sealed_cookie) == 32);
static_assert(alignof(CookieReplyMessage) == 1);

// [W] 5.4.6; the sealed packet and its tag follow.
struct TransportHeader {
  MessageHeader header{static_cast<uint8_t>(MessageType::kTransport)};
  LittleEndian<uint32_t> receiver;
  LittleEndian<uint64_t> counter;
};
static_assert(sizeof(TransportHeader) == 16);
static_assert(offsetof(TransportHeader, counter) == 8);
static_assert(alignof(TransportHeader) == 1);

inline constexpr size_t kTransportHeaderBytes = sizeof(TransportHeader);
// What sealing adds to an inner packet, padding aside.
inline constexpr size_t kTransportOverhead = kTransportHeaderBytes + kTagBytes;

// The type of a datagram whose size fits it; nullopt otherwise.
std::optional<MessageType> ClassifyMessage(Bytes datagram);

// A copy of the message. Preconditions: ClassifyMessage() said so.
template <typename Message>
Message ReadMessage(Bytes datagram);

template <typename Message>
Bytes BytesOfMessage(const Message& message) {
  return {reinterpret_cast<const uint8_t*>(&message), sizeof(message)};
}

// A handshake message's bytes that MAC1 and MAC2 are over ([W] 5.4.4: all that
// come before the MAC), for either type.
inline Bytes BytesBeforeMac1(Bytes message) { return message.first(message.size() - 2 * kMacBytes); }
inline Bytes BytesBeforeMac2(Bytes message) { return message.first(message.size() - kMacBytes); }

}  // namespace im::tunnel

#endif  // IM_TUNNEL_MESSAGE_H_
