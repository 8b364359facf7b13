// im dashboard: where the page of the cluster is, and the token to act by it.

#include <spawn.h>
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/ip_address.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/json.h"

extern char** environ;

namespace im::orchestrator::cli {
namespace {

struct DashboardOptions {
  std::string listen;
  bool read_only = false;
  bool open = false;
  bool json = false;
};

// What desktops open addresses with.
int OpenInBrowser(const std::string& url) {
  std::string program = "xdg-open";
  std::string word = url;
  char* const argv[] = {program.data(), word.data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, program.c_str(), nullptr, nullptr, argv, environ);
  if (error != 0) {
    PrintError(absl::StrCat("cannot open a browser: xdg-open: ", strerrordesc_np(error),
                            "; open the address above by hand"));
    return kExitFailure;
  }
  int status = 0;
  if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return kExitOk;
  }
  PrintError("xdg-open could not open a browser; open the address above by hand");
  return kExitFailure;
}

int Run(const Context& context, const DashboardOptions& options) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  grpc::ClientContext call;
  proto::DashboardRequest request;
  request.set_listen(options.listen);
  proto::DashboardReply reply;
  const absl::Status status = FromGrpc(client->stub().OpenDashboard(&call, request, &reply));
  if (!status.ok()) return Fail(status);
  const std::string url =
      absl::StrCat("http://", reply.endpoint(), "/",
                   options.read_only ? "" : absl::StrCat("#token=", reply.token()));
  if (options.json) {
    std::printf("{\"url\":%s,\"endpoint\":%s}\n", JsonString(url).c_str(),
                JsonString(reply.endpoint()).c_str());
  } else {
    std::puts(url.c_str());
  }
  std::fflush(stdout);
  return options.open ? OpenInBrowser(url) : kExitOk;
}

}  // namespace

void AddDashboard(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "dashboard", "Print the address of a page that shows the hosts as they come and go");
  auto options = std::make_shared<DashboardOptions>();
  verb->add_option("--listen", options->listen,
                   "ADDRESS:PORT to serve it on; default: 127.0.0.1:9601, or another port there\n"
                   "if that one is taken")
      ->check([](const std::string& text) {
        return Endpoint::Parse(text) ? std::string()
                                     : absl::StrCat("expected ADDRESS:PORT, not ", text);
      });
  verb->add_flag("--read-only", options->read_only, "The address without the token");
  verb->add_flag("-o,--open", options->open, "Open it in a browser, too (xdg-open)");
  verb->add_flag("--json", options->json, "As JSON");
  verb->footer(
      "imd itself serves the page, from now on until the cluster ends (im up --http serves it\n"
      "from the start). Whoever can connect may look; to wake, pause and release hosts takes\n"
      "the token, which is the part of the address behind the #. It is the same while the\n"
      "cluster is up. From another machine: ssh -L 9601:127.0.0.1:9601 THIS_MACHINE, then the\n"
      "same address there. docs/dashboard.md says more.");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
