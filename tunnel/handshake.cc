#include "tunnel/handshake.h"

#include "absl/strings/string_view.h"

namespace im::tunnel {
namespace {

constexpr absl::string_view kConstruction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
constexpr absl::string_view kIdentifier = "WireGuard v1 zx2c4 Jason@zx2c4.com";

Bytes BytesOfText(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void MixHash(HandshakeState& state, Bytes data) { state.hash = Blake2s({state.hash, data}); }

void MixKey(HandshakeState& state, Bytes data) {
  Kdf1(state.chaining_key, state.chaining_key.bytes(), data);
}

// Also derives the key of the next sealed field.
void MixKey(HandshakeState& state, Bytes data, SecretKey& key) {
  Kdf2(state.chaining_key, key, state.chaining_key.bytes(), data);
}

[[nodiscard]] bool MixDh(HandshakeState& state, const PrivateKey& ours, const PublicKey& theirs) {
  SecretKey shared;
  if (!X25519(shared, ours, theirs)) return false;
  MixKey(state, shared.bytes());
  return true;
}

[[nodiscard]] bool MixDh(HandshakeState& state, const PrivateKey& ours, const PublicKey& theirs,
                         SecretKey& key) {
  SecretKey shared;
  if (!X25519(shared, ours, theirs)) return false;
  MixKey(state, shared.bytes(), key);
  return true;
}

// [N] 7.5's psk token.
void MixPresharedKey(HandshakeState& state, const PresharedKey& preshared_key, SecretKey& key) {
  SecretKey mixed;
  Kdf3(state.chaining_key, mixed, key, state.chaining_key.bytes(), preshared_key.bytes());
  MixHash(state, mixed.bytes());
}

void SealField(HandshakeState& state, const SecretKey& key, Bytes plaintext,
               std::span<uint8_t> out) {
  AeadSeal(out, key, plaintext, state.hash);
  MixHash(state, out);
}

[[nodiscard]] bool OpenField(HandshakeState& state, const SecretKey& key, Bytes sealed,
                             std::span<uint8_t> out) {
  if (!AeadOpen(out, key, sealed, state.hash)) return false;
  MixHash(state, sealed);
  return true;
}

// The state before the first message to the owner of `responder`.
HandshakeState InitialState(const PublicKey& responder) {
  struct Start {
    Hash chaining_key = Blake2s({BytesOfText(kConstruction)});
    Hash hash = Blake2s({chaining_key, BytesOfText(kIdentifier)});
  };
  static const Start start;
  HandshakeState state;
  state.chaining_key.bytes() = start.chaining_key;
  state.hash = start.hash;
  MixHash(state, responder.bytes);
  return state;
}

void MixEphemeral(HandshakeState& state, const PublicKey& ephemeral) {
  MixHash(state, ephemeral.bytes);
  MixKey(state, ephemeral.bytes);
}

}  // namespace

std::optional<PendingInitiation> CreateInitiation(const RemoteStatic& remote, uint32_t local_index,
                                                  const Tai64n& stamp, Random& random,
                                                  const Identity& identity,
                                                  InitiationMessage& message) {
  PendingInitiation pending;
  pending.local_index = local_index;
  pending.ephemeral = GeneratePrivateKey(random);
  pending.state = InitialState(remote.public_key);
  HandshakeState& state = pending.state;

  message.sender = local_index;
  message.ephemeral = DerivePublicKey(pending.ephemeral);
  MixEphemeral(state, message.ephemeral);
  SecretKey key;
  if (!MixDh(state, pending.ephemeral, remote.public_key, key)) return std::nullopt;
  SealField(state, key, identity.public_key.bytes, message.sealed_static);
  MixKey(state, remote.shared.bytes(), key);
  SealField(state, key, stamp.bytes, message.sealed_timestamp);
  return pending;
}

std::optional<OpenedInitiation> OpenInitiation(const Identity& identity,
                                               const InitiationMessage& message) {
  OpenedInitiation opened;
  opened.state = InitialState(identity.public_key);
  opened.remote_ephemeral = message.ephemeral;
  opened.remote_index = message.sender;
  opened.sealed_timestamp = message.sealed_timestamp;
  MixEphemeral(opened.state, message.ephemeral);
  SecretKey key;
  if (!MixDh(opened.state, identity.private_key, message.ephemeral, key)) return std::nullopt;
  if (!OpenField(opened.state, key, message.sealed_static, opened.remote_static.bytes))
    return std::nullopt;
  return opened;
}

std::optional<Tai64n> OpenTimestamp(OpenedInitiation& opened, const SecretKey& shared) {
  SecretKey key;
  MixKey(opened.state, shared.bytes(), key);
  Tai64n stamp;
  if (!OpenField(opened.state, key, opened.sealed_timestamp, stamp.bytes)) return std::nullopt;
  return stamp;
}

std::optional<TransportKeys> CreateResponse(const OpenedInitiation& opened,
                                            const PresharedKey& preshared_key,
                                            uint32_t local_index, Random& random,
                                            ResponseMessage& message) {
  HandshakeState state = opened.state;
  const PrivateKey ephemeral = GeneratePrivateKey(random);
  message.sender = local_index;
  message.receiver = opened.remote_index;
  message.ephemeral = DerivePublicKey(ephemeral);
  MixEphemeral(state, message.ephemeral);
  if (!MixDh(state, ephemeral, opened.remote_ephemeral)) return std::nullopt;
  if (!MixDh(state, ephemeral, opened.remote_static)) return std::nullopt;
  SecretKey key;
  MixPresharedKey(state, preshared_key, key);
  SealField(state, key, {}, message.sealed_empty);
  TransportKeys keys;
  Kdf2(keys.receive, keys.send, state.chaining_key.bytes(), {});
  return keys;
}

std::optional<TransportKeys> ConsumeResponse(const Identity& identity,
                                             const PendingInitiation& pending,
                                             const PresharedKey& preshared_key,
                                             const ResponseMessage& message) {
  // A copy: a forged response must not spoil the handshake.
  HandshakeState state = pending.state;
  MixEphemeral(state, message.ephemeral);
  if (!MixDh(state, pending.ephemeral, message.ephemeral)) return std::nullopt;
  if (!MixDh(state, identity.private_key, message.ephemeral)) return std::nullopt;
  SecretKey key;
  MixPresharedKey(state, preshared_key, key);
  if (!OpenField(state, key, message.sealed_empty, {})) return std::nullopt;
  TransportKeys keys;
  Kdf2(keys.send, keys.receive, state.chaining_key.bytes(), {});
  return keys;
}

}  // namespace im::tunnel
