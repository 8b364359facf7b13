// im metrics: what imd counts, as Prometheus reads it.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/metrics_server.h"
#include "orchestrator/state_dir.h"

namespace im::orchestrator::cli {
namespace {

// imd answers from memory; this is for one that is stopped or overloaded.
constexpr time_t kAnswerSeconds = 10;

absl::StatusOr<FileDescriptor> Connect(const std::string& state_directory) {
  const std::string what = absl::StrCat("connect to ", state_directory, "/", kMetricsSocketName);
  // The directory's path may be longer than a socket's can be.
  const FileDescriptor directory(open(state_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return ErrnoStatus(what);
  const std::string path =
      absl::StrCat("/proc/self/fd/", directory.get(), "/", kMetricsSocketName);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoStatus(what);
  const timeval bound{.tv_sec = kAnswerSeconds, .tv_usec = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return ErrnoStatus(what);
  }
  return socket;
}

absl::StatusOr<std::string> Get(const std::string& state_directory) {
  IM_ASSIGN_OR_RETURN(const FileDescriptor socket, Connect(state_directory));
  const std::string request =
      absl::StrCat("GET ", kMetricsPath, " HTTP/1.1\r\nHost: imd\r\n\r\n");
  if (send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return ErrnoStatus("ask imd for its metrics");
  }
  std::string answer;
  char buffer[16 << 10];
  while (true) {
    const ssize_t n = recv(socket.get(), buffer, sizeof(buffer), 0);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return absl::UnavailableError("imd did not answer in time");
    if (n < 0) return ErrnoStatus("read imd's metrics");
    answer.append(buffer, static_cast<size_t>(n));
  }
  const size_t header_end = answer.find("\r\n\r\n");
  if (!absl::StartsWith(answer, "HTTP/1.1 200 ") || header_end == std::string::npos) {
    return absl::InternalError(
        absl::StrCat("imd answered: ", answer.substr(0, answer.find('\r'))));
  }
  return answer.substr(header_end + 4);
}

int Run(const Context& context) {
  // Says what to do if there is no cluster, or another user's.
  const auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  const auto text = Get(client->state_directory());
  if (!text.ok()) return Fail(text.status());
  std::fwrite(text->data(), 1, text->size(), stdout);
  return kExitOk;
}

}  // namespace

void AddMetrics(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("metrics", "Print what imd counts, as Prometheus reads it");
  verb->footer(
      "The same is served over HTTP at the cluster's metrics.sock always, and at a port with\n"
      "im up --metrics 127.0.0.1:9600. docs/operations.md says what each figure means.");
  verb->callback([&context] { context.run = [&context] { return Run(context); }; });
}

}  // namespace im::orchestrator::cli
