// What the services in C++ have in common: a server, and connections to other
// services that are opened anew when they are gone.

#ifndef IM_EXAMPLES_MICROSERVICES_CPP_REMOTE_H_
#define IM_EXAMPLES_MICROSERVICES_CPP_REMOTE_H_

#include <thrift/TProcessor.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/server/TThreadedServer.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TServerSocket.h>
#include <thrift/transport/TSocket.h>

#include <memory>
#include <optional>
#include <string>

namespace social {

constexpr int kPort = 9090;

inline void Serve(std::shared_ptr<apache::thrift::TProcessor> processor) {
  using namespace apache::thrift;
  server::TThreadedServer(processor, std::make_shared<transport::TServerSocket>("0.0.0.0", kPort),
                          std::make_shared<transport::TFramedTransportFactory>(),
                          std::make_shared<protocol::TBinaryProtocolFactory>())
      .serve();
}

// A service elsewhere. One for each thread: `thread_local Remote<TextClient> text("text")`.
template <typename Client>
class Remote {
 public:
  explicit Remote(std::string host) : host_(std::move(host)) {}

  Client& client() {
    if (!client_) {
      using namespace apache::thrift;
      auto transport = std::make_shared<transport::TFramedTransport>(
          std::make_shared<transport::TSocket>(host_, kPort));
      transport->open();
      client_.emplace(std::make_shared<protocol::TBinaryProtocol>(transport));
    }
    return *client_;
  }

  void Close() { client_.reset(); }

 private:
  const std::string host_;
  std::optional<Client> client_;
};

// `f` uses `remotes`, and may be done twice: a host may have been released since
// the last time, and its connections with it.
template <typename F, typename... Remotes>
auto Twice(F f, Remotes&... remotes) {
  try {
    return f();
  } catch (const apache::thrift::transport::TTransportException&) {
    (remotes.Close(), ...);
    return f();
  }
}

}  // namespace social

#endif  // IM_EXAMPLES_MICROSERVICES_CPP_REMOTE_H_
