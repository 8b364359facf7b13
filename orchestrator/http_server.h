// HttpServer: HTTP/1.1 on a Unix socket or TCP ports, for a handful of clients:
// Prometheus, and the page of `im dashboard`.
//
// Goals: whoever connects, and whatever they send or do not read, imd goes on
// as if they were not there: bounded memory, bounded time, nothing blocks.
//
// One request a connection, without a body, and one answer; then the connection
// is closed. So there is no pipelining, no chunk and no keep-alive to get wrong.
// A connection has `time_bound` from its accept to its end, and there are at
// most `connections_max` a server: one more takes the place of the oldest, so
// connections that only wait do not shut an honest client out, which takes
// milliseconds.
//
// An answer may be a stream, which has no end. It is pulled: the next chunk is
// asked for when the one before is with the kernel, so that a client has one
// chunk in memory, however slow it reads, and whoever makes the chunks can put
// into the next one what is newest. One chunk a turn of the loop for a client.
// Streams do not count as connections; there are at most `streams_max`, and
// further ones are told 503. One that has taken nothing for `stall_bound` while
// a chunk waits is cut off.
//
//   no HTTP    400       a body               413
//   too long   431       no place for a stream 503

#ifndef IM_ORCHESTRATOR_HTTP_SERVER_H_
#define IM_ORCHESTRATOR_HTTP_SERVER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "orchestrator/http_request.h"

namespace im::orchestrator {

// A body without an end.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  // What is to be sent next. Empty: nothing yet; asked again after PollStreams.
  virtual std::string Next() = 0;
};

struct HttpResponse {
  std::string status = "200 OK";
  std::string content_type = "text/plain; charset=utf-8";
  std::string headers;  // further ones, each with its CRLF
  std::shared_ptr<const std::string> body;  // null: empty
  std::unique_ptr<HttpStream> stream;       // instead of a body
};

// Owned by the loop's thread.
class HttpServer {
 public:
  struct Limits {
    Duration time_bound = std::chrono::seconds(5);
    size_t connections_max = 16;
    size_t streams_max = 0;
    Duration stall_bound = std::chrono::seconds(15);
  };
  // To be called once, at once or later; harmless after the client, or the
  // server, has gone.
  using Respond = std::function<void(HttpResponse)>;
  using Handler = std::function<void(const HttpRequest&, Respond)>;

  // `what` names it in messages: "metrics". `loop` must outlive the server.
  HttpServer(EventLoop& loop, std::string what, const Limits& limits, Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The socket is replaced if it is there, for `owner` (nullopt: our own user)
  // alone, and removed in the end. `directory` must exist; its path may be
  // longer than a socket's can be.
  absl::Status ListenUnix(const std::string& directory, const std::string& name,
                          std::optional<uid_t> owner);
  // Returns the bound endpoint. AlreadyExists: another program has the port.
  absl::StatusOr<Endpoint> ListenTcp(const Endpoint& at);

  // Streams may have something new.
  void PollStreams();

  size_t connections() const { return connections_.size() - streams_; }
  size_t streams() const { return streams_; }

 private:
  struct Connection {
    FileDescriptor socket;
    std::string request;
    bool head = false;      // the answer's body is left out
    bool asked = false;     // the request is complete
    bool answered = false;  // there is an answer
    bool sent_all = false;  // what still comes is thrown away
    std::string header;     // of the answer; of a stream, then its chunk
    std::shared_ptr<const std::string> body;
    std::unique_ptr<HttpStream> stream;
    size_t sent = 0;  // of header and body
    EventLoop::Watch watch;
    EventLoop::Timer bound;
  };
  // By their numbers, the oldest first.
  using Connections = std::map<uint64_t, Connection>;
  struct Listener {
    FileDescriptor socket;
    EventLoop::Watch watch;
    EventLoop::Timer retry;
  };

  void Accept(Listener& listener);
  void Listen(FileDescriptor socket);
  void MakeRoom();
  void Erase(uint64_t id);
  void OnReady(uint64_t id, uint32_t events);
  // False: the connection is at its end.
  bool Read(uint64_t id, Connection& connection);
  bool Send(Connection& connection);
  bool SendStream(uint64_t id, Connection& connection);
  // Sends what there is; false as above, and then `done` is set when all is sent.
  bool SendBytes(Connection& connection, bool& done);
  void Ask(uint64_t id, Connection& connection);
  void Answer(uint64_t id, Connection& connection, HttpResponse response);
  void AnswerError(uint64_t id, Connection& connection, absl::string_view status);
  void BoundStall(uint64_t id, Connection& connection);

  EventLoop& loop_;
  const std::string what_;
  const Limits limits_;
  const Handler handler_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  Connections connections_;
  uint64_t next_id_ = 1;
  size_t streams_ = 0;
  std::string socket_path_;
  FileDescriptor socket_directory_;
  // Cleared by the destructor, so that late answers find nobody.
  std::shared_ptr<HttpServer*> self_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HTTP_SERVER_H_
