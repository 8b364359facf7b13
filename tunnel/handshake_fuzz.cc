// A peer that has its keys and minds no rule: what it seals is sealed rightly,
// in any order, with any content, to a device that acts and ages meanwhile.
//
// Input: steps, each a byte that says which and the bytes that it takes. What
// must hold after each:
//  - what comes out inside was sealed for it, once, and under a fresh counter;
//  - the endpoint moves to where an authentic, new message came from, and
//    nowhere else: not by what was changed on the way, nor by a replay;
//  - no nonce of ours is used twice.
// In the end another peer, which does keep the rules, gets through.

#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "base/check.h"
#include "tunnel/aead.h"
#include "tunnel/cookie.h"
#include "tunnel/handshake.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

// Steps of one input: enough to fill every table of one peer.
constexpr int kStepsMax = 64;

class Reader {
 public:
  explicit Reader(Bytes input) : rest_(input) {}
  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    uint8_t byte = 0;
    Fill({&byte, 1});
    return byte;
  }
  // Zeros where the input is at its end.
  void Fill(std::span<uint8_t> out) {
    const size_t size = std::min(out.size(), rest_.size());
    std::fill(std::copy_n(rest_.begin(), size, out.begin()), out.end(), uint8_t{0});
    rest_ = rest_.subspan(size);
  }
  template <typename T>
  T Take() {
    T value;
    Fill({reinterpret_cast<uint8_t*>(&value), sizeof(value)});
    return value;
  }

 private:
  Bytes rest_;
};

struct Sealed {
  ByteVector bytes;
  bool authentic = false;
  bool consumed = false;  // it moved the endpoint
};

// A packet that may come out inside.
struct Expected {
  int count = 0;
  std::pair<uint32_t, uint64_t> sealed_under;  // index and counter, if it is one packet
};

// What the rogue knows of a session.
struct RogueSession {
  uint32_t remote_index = 0;
  std::unique_ptr<AeadSealer> sealer;
  uint64_t counter = 0;
};

Device::Options OptionsOf(uint8_t byte) {
  Device::Options options;
  options.under_load_handshakes_per_second = (byte & 1) != 0 ? 3 : 1000;
  if ((byte & 2) != 0) {
    options.rekey_after_messages = 5;
    options.reject_after_messages = 9;
  }
  return options;
}

class Game {
 public:
  explicit Game(Reader& input) : input_(input), network_(1, OptionsOf(input.Byte())) {
    SetRogue(PresharedKey());
    network_.Introduce(us_, friend_);
    IM_CHECK(X25519(shared_, rogue_.private_key, us_.key()));
  }

  void Play() {
    for (int step = 0; step < kStepsMax && !input_.empty(); ++step) {
      from_ = {Address("198.51.100.7"), static_cast<uint16_t>(1 + step)};
      Step();
      Check();
    }
    network_.Pass(std::chrono::seconds(15));
    network_.SendText(friend_, us_, "still here");
    network_.Pass(std::chrono::seconds(15));
    const auto texts = us_.texts();
    IM_CHECK(std::find(texts.begin(), texts.end(), "still here") != texts.end());
  }

 private:
  void SetRogue(const PresharedKey& preshared_key) {
    PeerConfig config;
    config.public_key = rogue_.public_key;
    config.preshared_key = psk_ = preshared_key;
    config.endpoint = place_;
    config.allowed_ips = {Prefix("10.1.0.0/16"), Prefix("fd01::/16")};
    allowed_.insert(place_.port);
    network_.SetPeer(us_, config);
  }

  void Step() {
    switch (input_.Byte() % 10) {
      case 0:
      case 1:
        return Initiate();
      case 2:
        return Respond();
      case 3:
      case 4:
      case 5:
        return SendTransport();
      case 6:
        return Replay();
      case 7:
        return SendCookie();
      case 8:
        return Act();
      case 9:
        return network_.Pass(std::chrono::milliseconds(input_.Take<uint16_t>() * 10));
    }
  }

  // Our device does something by itself.
  void Act() {
    switch (input_.Byte() % 6) {
      case 0:
        return network_.Send(us_, TextPacket(us_.address, Address("10.1.0.1"), "to the rogue"));
      case 1:
        us_.device.Connect(rogue_.public_key, network_.clock.Now(), us_.out);
        return network_.Collect(us_);
      case 2:  // it forgets stamps and sessions
        us_.device.RemovePeer(rogue_.public_key);
        for (Sealed& sealed : sent_) sealed.consumed = false;
        return SetRogue(psk_);
      case 3:
        return SetRogue(input_.Byte() % 2 == 0
                            ? PresharedKey()
                            : GeneratePrivateKey(network_.random));
      case 4:
        return network_.clock.JumpWall(std::chrono::seconds(input_.Take<int16_t>()));
      case 5:
        network_.SendText(friend_, us_, "hello");
        return Absorb();
    }
  }

  void Initiate() {
    const uint8_t flags = input_.Byte();
    Identity identity = rogue_;
    SecretKey shared = shared_;
    if ((flags & 1) != 0) input_.Fill(identity.public_key.bytes);
    if ((flags & 2) != 0) shared.bytes()[0] ^= 1;
    Tai64n stamp = Tai64n::FromUnixNanos(stamp_nanos_ += 25'000'000);
    if ((flags & 4) != 0) input_.Fill(stamp.bytes);
    InitiationMessage message;
    auto pending = CreateInitiation({us_.key(), shared}, network_.random.Uint32(), stamp,
                                    network_.random, identity, message);
    IM_CHECK(pending.has_value());
    if ((flags & 8) != 0) input_.Fill(message.ephemeral.bytes);
    pending_ = std::make_unique<PendingInitiation>(*std::move(pending));
    SendHandshake(message, flags, (flags & 0x0b) == 0);
  }

  void Respond() {
    const uint8_t flags = input_.Byte();
    if (!initiation_) return;
    auto opened = OpenInitiation(rogue_, *initiation_);
    if (!opened || !OpenTimestamp(*opened, shared_)) return;
    PresharedKey psk = psk_;
    if ((flags & 1) != 0) input_.Fill(psk.bytes());
    ResponseMessage message;
    const auto keys =
        CreateResponse(*opened, psk, network_.random.Uint32(), network_.random, message);
    IM_CHECK(keys.has_value());
    AddSession(opened->remote_index, *keys);
    SendHandshake(message, flags, psk == psk_);
  }

  template <typename Message>
  void SendHandshake(Message& message, uint8_t flags, bool authentic) {
    const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&message), sizeof(message));
    if ((flags & 16) == 0) {
      cookie_.AddMacs(bytes, us_.key(), network_.clock.Now(), kCookieRefreshTime);
    } else {
      authentic = false;
    }
    Send({bytes.begin(), bytes.end()}, (flags & 32) != 0, authentic);
  }

  void SendTransport() {
    const uint8_t flags = input_.Byte();
    if (sessions_.empty()) return;
    RogueSession& session = sessions_[input_.Byte() % sessions_.size()];
    if ((flags & 1) != 0) session.counter = input_.Take<uint64_t>();
    const uint64_t counter = session.counter++;
    ByteVector plaintext;
    if ((flags & 2) == 0) {
      plaintext = TextPacket(Address((flags & 4) == 0 ? "10.1.2.3" : "10.77.0.2"), us_.address,
                             std::to_string(++texts_));
      plaintext.resize(plaintext.size() + input_.Byte() % 32);
    } else {
      plaintext.resize(input_.Byte() + 16 * (input_.Byte() % 128));
      input_.Fill(plaintext);
    }
    TransportHeader header;
    header.receiver = session.remote_index;
    header.counter = counter;
    ByteVector bytes(kTransportOverhead + plaintext.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    const AeadJob job{.in = plaintext.data(),
                      .out = bytes.data() + sizeof(header),
                      .size = static_cast<uint32_t>(plaintext.size()),
                      .counter = counter};
    session.sealer->Seal({&job, 1});
    const std::pair<uint32_t, uint64_t> sealed_under(session.remote_index, counter);
    Send(bytes, (flags & 32) != 0, true);  // may make a session
    if (sent_.back().bytes != bytes) return;
    // Under a counter that was used, the second is as good if the first got lost.
    if (const auto route = ParseIpRoute(plaintext)) {
      plaintext.resize(route->total_size);
      Expected& expected = expected_[plaintext];
      ++expected.count;
      expected.sealed_under = sealed_under;
    }
  }

  void Replay() {
    if (sent_.empty()) return;
    Sealed& sealed = sent_[input_.Byte() % sent_.size()];
    if (sealed.authentic && !sealed.consumed) allowed_.insert(from_.port);
    DeliverFrom(sealed);
  }

  // A right cookie reply to whatever was sent last, with any cookie in it.
  void SendCookie() {
    if (last_mac1_.empty()) return;
    CookieReplyMessage reply;
    reply.receiver = initiation_ ? static_cast<uint32_t>(initiation_->sender) : 0;
    input_.Fill(reply.nonce);
    const Hash key = Blake2s({Bytes(reinterpret_cast<const uint8_t*>("cookie--"), 8),
                              rogue_.public_key.bytes});
    XAeadSeal(reply.sealed_cookie, key, reply.nonce, input_.Take<Mac>(), last_mac1_);
    const Bytes bytes = BytesOfMessage(reply);
    Send({bytes.begin(), bytes.end()}, (input_.Byte() & 1) != 0, false);
  }

  // `changed`: not without changes that the input names.
  void Send(ByteVector bytes, bool changed, bool authentic) {
    if (changed) {
      const ByteVector original = bytes;
      const bool was_authentic = authentic;
      if ((input_.Byte() & 1) != 0) bytes.resize(bytes.size() - input_.Byte() % bytes.size());
      for (int i = input_.Byte() % 4; i >= 0; --i) {
        const size_t at = input_.Take<uint16_t>() % bytes.size();
        bytes[at] ^= input_.Byte();
      }
      authentic = authentic && bytes == original;
      // MAC2 is nobody's business unless there is load.
      const bool handshake = original[0] == 1 || original[0] == 2;
      if (handshake && bytes.size() == original.size() &&
          std::equal(bytes.begin(), bytes.end() - kMacBytes, original.begin())) {
        authentic = was_authentic;
      }
    }
    if (authentic) allowed_.insert(from_.port);
    sent_.push_back({std::move(bytes), authentic, false});
    DeliverFrom(sent_.back());
  }

  void DeliverFrom(Sealed& sealed) {
    DatagramBatch batch;
    batch.AddCopy(from_, sealed.bytes);
    us_.device.OnDatagrams(batch, network_.clock.Now(), us_.out);
    network_.Collect(us_);
    if (us_.device.GetPeer(rogue_.public_key)->endpoint == from_) {
      sealed.consumed = true;
      place_ = from_;
    }
    Absorb();
  }

  // What our device sent to the rogue.
  void Absorb() {
    network_.DeliverAll();
    for (const WireDatagram& datagram : network_.log) {
      if (network_.NodeAt(datagram.to) == nullptr) OnDatagram(datagram);
    }
    network_.log.clear();
  }

  void OnDatagram(const WireDatagram& datagram) {
    switch (datagram.type()) {
      case MessageType::kInitiation:
        initiation_ =
            std::make_unique<InitiationMessage>(ReadMessage<InitiationMessage>(datagram.bytes));
        KeepMac1(datagram.bytes);
        break;
      case MessageType::kResponse: {
        const auto message = ReadMessage<ResponseMessage>(datagram.bytes);
        KeepMac1(datagram.bytes);
        if (pending_ == nullptr || message.receiver != pending_->local_index) break;
        const auto keys = ConsumeResponse(rogue_, *pending_, psk_, message);
        if (keys) AddSession(message.sender, *keys);
        break;
      }
      case MessageType::kCookieReply:
        cookie_.Take(ReadMessage<CookieReplyMessage>(datagram.bytes), us_.key(),
                     network_.clock.Now());
        break;
      case MessageType::kTransport: {
        const auto header = ReadMessage<TransportHeader>(datagram.bytes);
        IM_CHECK(nonces_.emplace(header.receiver, header.counter).second);
        break;
      }
    }
  }

  void KeepMac1(const ByteVector& message) {
    last_mac1_.assign(message.end() - 2 * kMacBytes, message.end() - kMacBytes);
  }

  void AddSession(uint32_t remote_index, const TransportKeys& keys) {
    RogueSession session;
    session.remote_index = remote_index;
    session.sealer = std::make_unique<AeadSealer>(keys.send);
    sessions_.push_back(std::move(session));
  }

  void Check() {
    Absorb();
    for (const ByteVector& packet : us_.inbox) {
      if (ParseIpRoute(packet)->source == friend_.address) continue;
      const auto it = expected_.find(packet);
      IM_CHECK(it != expected_.end());
      if (it->second.count == 1) IM_CHECK(taken_.insert(it->second.sealed_under).second);
      if (--it->second.count == 0) expected_.erase(it);
    }
    us_.inbox.clear();
    const auto status = us_.device.GetPeer(rogue_.public_key);
    IM_CHECK(status && allowed_.contains(status->endpoint->port));
  }

  Reader& input_;
  TestNetwork network_;
  Node& us_ = network_.Add();
  Node& friend_ = network_.Add();
  const Identity rogue_{GeneratePrivateKey(network_.random)};
  PresharedKey psk_;
  SecretKey shared_;
  Endpoint place_ = *Endpoint::Parse("198.51.100.7:9999");  // where the rogue is for us
  Endpoint from_;
  std::set<uint16_t> allowed_;  // ports that the endpoint may have
  CookieHolder cookie_;
  int64_t stamp_nanos_ = 1'700'000'000'000'000'000;
  std::unique_ptr<PendingInitiation> pending_;
  std::unique_ptr<InitiationMessage> initiation_;  // the last one of ours
  ByteVector last_mac1_;                           // of ours
  std::vector<RogueSession> sessions_;
  std::vector<Sealed> sent_;
  std::map<ByteVector, Expected> expected_;
  std::set<std::pair<uint32_t, uint64_t>> taken_;  // came out
  std::set<std::pair<uint32_t, uint64_t>> nonces_;
  int texts_ = 0;
};

}  // namespace
}  // namespace im::tunnel

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  im::tunnel::Reader reader({data, size});
  im::tunnel::Game(reader).Play();
  return 0;
}
