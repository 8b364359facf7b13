// im capture HOST: the host's packets as they are inside the tunnel, as a pcap
// file for tcpdump and Wireshark.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/cli/capture_reader.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"

namespace im::orchestrator::cli {
namespace {

// For what the agent still has after we said that it is enough.
constexpr Duration kEndBound = std::chrono::seconds(10);

struct CaptureOptions {
  std::string host;
  std::string file;
  uint64_t count = 0;
};

// SIGINT and SIGTERM end the capture, not us.
FileDescriptor WatchSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

absl::StatusOr<FileDescriptor> Connect(const proto::HostInfo& host) {
  const std::string what = absl::StrCat("connect to ", host.instance_dir(), "/capture.sock");
  const FileDescriptor directory(
      open(host.instance_dir().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return ErrnoStatus(what);
  const std::string path = absl::StrCat("/proc/self/fd/", directory.get(), "/capture.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoStatus(what);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return ErrnoStatus(what);
  }
  return socket;
}

absl::Status WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("write the capture");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// Until the agent has said its last, or the host is gone.
absl::Status Copy(int from, int to, int signals, CaptureReader& reader) {
  const RealClock clock;
  Instant give_up = kNever;
  bool enough = false;
  const auto end = [&] {
    if (std::exchange(enough, true)) return;
    shutdown(from, SHUT_WR);
    give_up = clock.Now() + kEndBound;
  };
  char buffer[64 << 10];
  while (!reader.lost()) {
    pollfd entries[2] = {{from, POLLIN, 0}, {enough ? -1 : signals, POLLIN, 0}};
    const int n = poll(entries, 2, enough ? 1000 : -1);
    if (n < 0 && errno != EINTR) return ErrnoStatus("poll");
    if (clock.Now() >= give_up) return absl::OkStatus();
    if (n <= 0) continue;
    if (entries[1].revents != 0) end();
    if (entries[0].revents == 0) continue;
    const ssize_t got = recv(from, buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::OkStatus();
    const std::string records = reader.Feed({buffer, static_cast<size_t>(got)});
    IM_RETURN_IF_ERROR(WriteAll(to, records));
    if (reader.full()) end();
  }
  return absl::OkStatus();
}

absl::StatusOr<FileDescriptor> OpenOutput(const std::string& path) {
  if (path == "-") {
    if (isatty(STDOUT_FILENO) == 1) {
      return absl::InvalidArgumentError(
          "a capture is no text for a terminal; write: im capture HOST -w FILE, or pipe it: "
          "im capture HOST | tshark -r -");
    }
    return FileDescriptor(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
  }
  // Packets are somebody's data.
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(absl::StrCat("open ", path));
  return file;
}

int Run(const Context& context, const CaptureOptions& options) {
  const FileDescriptor signals = WatchSignals();
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  if (const absl::Status may = client->MayReachHosts(); !may.ok()) return Fail(may);
  const auto found = client->FindHost(options.host);
  if (!found.ok()) return Fail(found.status());
  const proto::HostInfo& host = *found;
  if (host.agent_pid() == 0) {
    PrintError(absl::StrCat(host.name(), " is ", host.state(),
                            ", so it has no packets; start it with: im wake ", host.name()));
    return kExitFailure;
  }
  const auto output = OpenOutput(options.file);
  if (!output.ok()) return Fail(output.status());
  const auto socket = Connect(host);
  if (!socket.ok()) return Fail(socket.status());
  CaptureReader reader(options.count);
  const absl::Status status = Copy(socket->get(), output->get(), signals.get(), reader);
  if (!status.ok()) return Fail(status);
  std::string summary = absl::StrCat(reader.packets(), " packets captured");
  if (!reader.lost()) {
    absl::StrAppend(&summary, "; the host went away");
  } else if (*reader.lost() > 0) {
    absl::StrAppend(&summary, ", ", *reader.lost(), " lost, as they were not written fast enough");
  }
  PrintError(summary);
  return kExitOk;
}

}  // namespace

void AddCapture(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("capture", "Record a host's packets, decrypted, as a pcap file");
  auto options = std::make_shared<CaptureOptions>();
  options->file = "-";
  verb->add_option("HOST", options->host, "The host; it must be up, and may be paused")->required();
  verb->add_option("-w,--write", options->file, "The file; default: -, which is stdout");
  verb->add_option("-n,--count", options->count, "End after so many packets; 0: at Ctrl-C")
      ->check(CLI::NonNegativeNumber);
  verb->footer(
      "  im capture web -w web.pcap\n"
      "  im capture web | tshark -r -\n"
      "Ctrl-C ends it and leaves a whole file. To look keeps no host up and delays no packet:\n"
      "what is not written fast enough is lost and counted. Large packets are those that the\n"
      "host's kernel hands over before they are cut; their checksums may not be computed yet.");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
