// im up: checks a cluster.yaml, starts its imd, and shows it living.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/cluster_choice.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/daemon.h"
#include "orchestrator/cli/event_view.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/foreground.h"
#include "orchestrator/cli/preflight.h"
#include "orchestrator/cli/spec_view.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/criu.h"

namespace im::orchestrator::cli {
namespace {

struct UpOptions {
  std::string file;
  bool detach = false;
  std::string metrics;
  std::string http;
};

std::string Absolute(const std::string& path) {
  std::error_code error;
  return std::filesystem::absolute(path, error).lexically_normal().string();
}

int RefuseSecondUp(const std::string& name, const std::string& state_directory) {
  std::string who;
  auto client = Client::Connect(state_directory);
  if (absl::IsPermissionDenied(client.status())) {
    who = " (another user's)";
  } else if (client.ok()) {
    if (const auto cluster = client->GetCluster(); cluster.ok()) {
      who = absl::StrCat(" (imd has pid ", cluster->pid(), ", from ", cluster->spec_path(), ")");
    }
  }
  PrintError(absl::StrCat("cluster ", name, " runs already", who, "; stop it with: im down -c ",
                          name));
  return kExitRunning;
}

bool NeedsNamespaces(const ClusterSpec& spec) {
  return std::any_of(spec.hosts.begin(), spec.hosts.end(), [](const HostSpec& host) {
    return host.attach != AttachMode::kNetstack;
  });
}

// A file as it is to be understood on this machine.
struct Reading {
  ParsedClusterSpec parsed;
  AttachMode auto_attach = AttachMode::kTun;
  std::optional<std::string> missing;  // what the machine does not permit, and the file needs
};

SpecSources Sources() {
  SpecSources sources = SpecSources::Real();
  sources.no_checkpoints = []() -> std::optional<std::string> {
    const absl::StatusOr<std::string> criu = FindCriu();
    return criu.ok() ? std::nullopt : std::optional(std::string(criu.status().message()));
  };
  return sources;
}

Reading Read(const std::string& file) {
  Reading reading{LoadClusterSpec(file, Sources()), AttachMode::kTun, std::nullopt};
  if (!reading.parsed.spec || !NeedsNamespaces(*reading.parsed.spec)) return reading;
  auto missing = ExplainPreflight(TryMachine());
  if (!missing) return reading;
  SpecSources sources = Sources();
  sources.auto_attach = reading.auto_attach = AttachMode::kNetstack;
  reading.parsed = LoadClusterSpec(file, sources);
  if (!reading.parsed.spec || NeedsNamespaces(*reading.parsed.spec)) {
    reading.missing = std::move(missing);
  }
  return reading;
}

int Run(const Context& context, const UpOptions& options) {
  const Reading reading = Read(options.file);
  const ParsedClusterSpec& parsed = reading.parsed;
  PrintDiagnostics(parsed);
  if (!parsed.spec) {
    if (reading.missing) PrintError(*reading.missing);
    return reading.missing ? kExitNotPermitted : kExitBadInput;
  }
  const ClusterSpec& spec = *parsed.spec;
  if (!context.cluster_option.empty() && context.cluster_option != spec.name) {
    PrintError(absl::StrCat("-c ", context.cluster_option, ", but ", options.file,
                            " describes cluster ", spec.name));
    return kExitBadInput;
  }
  const std::string directory = StateDirectory(OurStateRoots(), spec.name);
  if (ListenerAt(ApiSocket(directory)) != Listener::kNone) {
    return RefuseSecondUp(spec.name, directory);
  }
  if (reading.missing) {
    PrintError(*reading.missing);
    return kExitNotPermitted;
  }
  if (!options.detach) BlockForegroundSignals();
  DaemonOptions daemon;
  daemon.program = absl::StrCat(ProgramDirectory(), "/imd");
  daemon.spec_path = Absolute(options.file);
  daemon.state_directory = directory;
  daemon.owner = SudoUser(geteuid(), std::getenv("SUDO_UID"));
  daemon.auto_attach = reading.auto_attach;
  daemon.metrics = options.metrics;
  daemon.http = options.http;
  daemon.ends_with_us = !options.detach;
  const auto imd = StartDaemon(daemon);
  if (!imd.ok()) return Fail(imd.status());
  auto client = Client::Connect(directory);
  if (!client.ok()) return Fail(client.status());
  std::fputs(SpecSummary(spec, context.terminal).c_str(), stdout);
  if (reading.auto_attach == AttachMode::kNetstack) {
    std::puts("no namespaces or TUN devices are to be had here, so attach: auto is netstack");
  }
  std::fflush(stdout);
  if (options.detach) {
    std::puts("it runs in the background; see im ps, im events -f, im down");
    return kExitOk;
  }
  const auto hosts = client->ListHosts();
  return StayInForeground(*client, *imd,
                          HostWidth(hosts.ok() ? *hosts : std::vector<proto::HostInfo>()),
                          context.terminal);
}

}  // namespace

void AddUp(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("up", "Bring a cluster up: its hosts exist, none runs until it is needed");
  auto options = std::make_shared<UpOptions>();
  verb->add_option("FILE", options->file,
                   "Default: cluster.yaml, else compose.yaml, compose.yml, docker-compose.yaml or\n"
                   "docker-compose.yml, whichever is there");
  verb->add_flag("-d,--detach", options->detach, "Return as soon as it is up");
  const auto is_endpoint = [](const std::string& text) {
    return Endpoint::Parse(text) ? std::string()
                                 : absl::StrCat("expected ADDRESS:PORT, not ", text);
  };
  verb->add_option("--metrics", options->metrics,
                   "ADDRESS:PORT, such as 127.0.0.1:9600, where Prometheus may read metrics")
      ->check(is_endpoint);
  verb->add_option("--http", options->http,
                   "ADDRESS:PORT, such as 127.0.0.1:9601, to serve the page of im dashboard on from\n"
                   "the start")
      ->check(is_endpoint);
  verb->footer(
      "Each change of a host is shown as one line until Ctrl-C, which stops all hosts and\n"
      "ends the cluster; a second Ctrl-C kills them. With -d the cluster stays until im down.\n"
      "Root's hosts have networks, files and processes of their own (attach: tun). Without\n"
      "root, or where the machine permits no namespaces, they have a network alone (attach:\n"
      "netstack). Brought up with sudo, a cluster obeys the user who did so: all but exec,\n"
      "logs, capture and cp, which reach into hosts, then works without sudo.\n"
      "Nothing of this machine's own network is changed.");
  verb->callback([&context, options] {
    context.run = [&context, options] {
      if (options->file.empty()) options->file = DefaultSpecFile();
      return Run(context, *options);
    };
  });
}

}  // namespace im::orchestrator::cli
