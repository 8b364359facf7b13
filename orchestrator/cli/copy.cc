// im cp: files and directories into a host, out of it, or from one to another:
// tar at both ends, each run where its end is, and a pipe between them.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/cli/agent_socket.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/copy_place.h"
#include "orchestrator/cli/exit_code.h"

namespace im::orchestrator::cli {
namespace {

struct CopyOptions {
  std::string source;
  std::string destination;
};

// A command at one of the ends.
class EndCommand {
 public:
  static absl::StatusOr<EndCommand> Start(Client* client, const CopyPlace& place,
                                          const std::vector<std::string>& argv, int in, int out) {
    EndCommand command;
    command.where_ = place.host.empty() ? "this machine" : place.host;
    if (place.host.empty()) {
      // Other threads are there: the child must not allocate.
      std::vector<std::string> words = argv;
      std::vector<char*> pointers;
      for (std::string& word : words) pointers.push_back(word.data());
      pointers.push_back(nullptr);
      command.child_ = fork();
      if (command.child_ < 0) return ErrnoStatus("fork");
      if (command.child_ == 0) Exec(pointers.data(), in, out);
      return command;
    }
    IM_ASSIGN_OR_RETURN(const proto::HostInfo host, client->WakeForExec(place.host, "im cp"));
    IM_ASSIGN_OR_RETURN(AgentSocket agent, AgentSocket::Connect(host.instance_dir()));
    proto::ExecRequest request;
    for (const std::string& word : argv) request.add_argv(word);
    request.set_inherit_user(true);
    IM_RETURN_IF_ERROR(agent.SendRequest(request, {in, out, STDERR_FILENO}));
    command.agent_.emplace(std::move(agent));
    return command;
  }

  // It has said itself what went wrong, if it ran.
  absl::Status Wait() {
    int code = 0;
    if (agent_) {
      IM_ASSIGN_OR_RETURN(const proto::ExecResult result, agent_->ReceiveResult());
      if (!result.error().empty()) {
        return absl::InternalError(absl::StrCat(where_, ": ", result.error()));
      }
      code = result.exit_code();
    } else {
      int status = 0;
      while (waitpid(child_, &status, 0) < 0 && errno == EINTR) {
      }
      code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (code == 0) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("the copy failed on ", where_, ", with code ", code));
  }

 private:
  [[noreturn]] static void Exec(char* const* argv, int in, int out) {
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    execvp(argv[0], argv);
    _exit(kExitNoSuchProgram);
  }

  std::string where_;
  pid_t child_ = -1;
  std::optional<AgentSocket> agent_;
};

absl::Status Copy(Client* client, const CopyPlace& from, const CopyPlace& to) {
  IM_ASSIGN_OR_RETURN(const std::string name, from.Name());
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("make a pipe");
  FileDescriptor read_end(ends[0]);
  FileDescriptor write_end(ends[1]);
  const FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return ErrnoStatus("open /dev/null");
  // Who reads first: if it cannot, nothing was touched.
  auto unpack =
      EndCommand::Start(client, to, UnpackCommand(to, name), read_end.get(), null.get());
  if (!unpack.ok()) return unpack.status();
  read_end.Reset();
  auto pack = EndCommand::Start(client, from, PackCommand(from, name), null.get(),
                                write_end.get());
  write_end.Reset();  // the reader sees the end when the other one is done
  const absl::Status packed = pack.ok() ? pack->Wait() : pack.status();
  const absl::Status unpacked = unpack->Wait();
  return packed.ok() ? unpacked : packed;
}

int Run(const Context& context, const CopyOptions& options) {
  const auto from = CopyPlace::Parse(options.source);
  if (!from.ok()) return Fail(from.status());
  const auto to = CopyPlace::Parse(options.destination);
  if (!to.ok()) return Fail(to.status());
  if (from->host.empty() && to->host.empty()) {
    PrintError("neither of them is in a host; write HOST:PATH for the one that is");
    return kExitBadInput;
  }
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  if (const absl::Status may = client->MayReachHosts(); !may.ok()) return Fail(may);
  const absl::Status status = Copy(&*client, *from, *to);
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace

void AddCopy(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("cp", "Copy files and directories into and out of hosts");
  auto options = std::make_shared<CopyOptions>();
  verb->add_option("SOURCE", options->source, "HOST:PATH, or a path on this machine")->required();
  verb->add_option("DESTINATION", options->destination,
                   "HOST:PATH, or a path on this machine; a directory to copy into, or the copy's name")
      ->required();
  verb->footer(
      "  im cp web:/var/log/nginx .          a directory out of a host\n"
      "  im cp new.conf web:/etc/nginx.conf  a file into one; it is replaced as a whole\n"
      "Hosts are woken. In them, it is done by their program's user, with their tar.\n"
      "A path here that has a colon: ./a:b.");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
