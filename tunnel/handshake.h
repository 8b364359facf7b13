// Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s ([N] 7.5, [W] 5.4), step by step.
//
//   initiator                                   responder
//   CreateInitiation  -- initiation -->         OpenInitiation   who is it?
//                                               OpenTimestamp    is it fresh?
//   ConsumeResponse   <-- response  --          CreateResponse
//   TransportKeys                               TransportKeys
//
// Pure functions of their arguments: indices, stamps, rate limits, MACs and
// what to do with the keys are other files' business. A message that fails
// leaves no trace.

#ifndef IM_TUNNEL_HANDSHAKE_H_
#define IM_TUNNEL_HANDSHAKE_H_

#include <cstdint>
#include <optional>

#include "base/random.h"
#include "tunnel/crypto.h"
#include "tunnel/keys.h"
#include "tunnel/message.h"
#include "tunnel/tai64n.h"

namespace im::tunnel {

// Our own static key pair.
struct Identity {
  explicit Identity(const PrivateKey& key)
      : private_key(key), public_key(DerivePublicKey(private_key)) {}

  PrivateKey private_key;
  PublicKey public_key;
};

// What both ends share about their static keys; kept, since it costs a
// Curve25519 operation.
struct RemoteStatic {
  PublicKey public_key;
  SecretKey shared;  // DH(our private, their public)
};

// The symmetric state of [N] 5.2 between two messages.
struct HandshakeState {
  SecretKey chaining_key;
  Hash hash{};
};

// What an initiator remembers until the response comes.
struct PendingInitiation {
  HandshakeState state;
  PrivateKey ephemeral;
  uint32_t local_index = 0;
};

// What a responder knows after OpenInitiation.
struct OpenedInitiation {
  HandshakeState state;
  PublicKey remote_static;
  PublicKey remote_ephemeral;
  SealedTimestamp sealed_timestamp{};
  uint32_t remote_index = 0;
};

struct TransportKeys {
  SecretKey send;
  SecretKey receive;
};

// nullopt if the remote's key is of low order. MACs are left zero.
std::optional<PendingInitiation> CreateInitiation(const RemoteStatic& remote, uint32_t local_index,
                                                  const Tai64n& stamp, Random& random,
                                                  const Identity& identity,
                                                  InitiationMessage& message);

std::optional<OpenedInitiation> OpenInitiation(const Identity& identity,
                                               const InitiationMessage& message);
std::optional<Tai64n> OpenTimestamp(OpenedInitiation& opened, const SecretKey& shared);

// After OpenTimestamp. MACs are left zero.
std::optional<TransportKeys> CreateResponse(const OpenedInitiation& opened,
                                            const PresharedKey& preshared_key,
                                            uint32_t local_index, Random& random,
                                            ResponseMessage& message);

std::optional<TransportKeys> ConsumeResponse(const Identity& identity,
                                             const PendingInitiation& pending,
                                             const PresharedKey& preshared_key,
                                             const ResponseMessage& message);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_HANDSHAKE_H_
