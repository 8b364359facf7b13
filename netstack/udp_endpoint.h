// UdpEndpointImpl: a bound lwIP udp_pcb. Datagrams wait until the end of the
// turn, so that the program's function does not run inside lwIP.

#ifndef IM_NETSTACK_UDP_ENDPOINT_H_
#define IM_NETSTACK_UDP_ENDPOINT_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "lwip/udp.h"
#include "netstack/core.h"
#include "netstack/input_filter.h"
#include "netstack/net.h"

namespace im::netstack {

// Bytes of datagrams that may wait for one endpoint within a turn, headers of
// ours included. More are dropped, as a socket's full buffer does.
inline constexpr size_t kUdpQueueBytesMax = 1 << 20;

// ICMP errors that may wait likewise; each is told, so few are enough.
inline constexpr size_t kUdpErrorsMax = 64;

class UdpEndpointImpl final : public UdpEndpoint, public Core::Member {
 public:
  using DatagramFunction =
      std::function<void(const Endpoint& from, std::span<const uint8_t> payload)>;
  using ErrorFunction = std::function<void(const Endpoint& remote, const absl::Status& error)>;

  static absl::StatusOr<std::unique_ptr<UdpEndpointImpl>> Create(Core& core, const Endpoint& local,
                                                                 DatagramFunction on_datagram);
  ~UdpEndpointImpl() override;

  Endpoint local() const override { return local_; }
  absl::Status SendTo(const Endpoint& remote, std::span<const uint8_t> payload) override;
  void SetErrorHandler(ErrorFunction on_error) override;

  // An ICMP error about a datagram, perhaps of one of ours.
  static void OnUnreachable(const Unreachable& unreachable);

 private:
  struct Datagram {
    Endpoint from;
    std::vector<uint8_t> payload;
  };
  struct Error {
    Endpoint remote;
    bool port;
  };

  UdpEndpointImpl(Core* core, udp_pcb* pcb, DatagramFunction on_datagram);
  void RunDeferred() override;
  // False if the program's function destroyed *this.
  bool TellDatagrams();
  void TellErrors();
  void OnStackGone() override;
  static void OnDatagram(void* self, udp_pcb* pcb, pbuf* data, const ip_addr_t* from, u16_t port);

  udp_pcb* pcb_;
  Endpoint local_;
  std::shared_ptr<DatagramFunction> on_datagram_;
  std::shared_ptr<ErrorFunction> on_error_;  // null: none
  bool* destroyed_ = nullptr;
  std::vector<Datagram> waiting_;
  size_t waiting_bytes_ = 0;
  std::vector<Error> errors_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_UDP_ENDPOINT_H_
