// im completion, and what packaging asks for: manual pages. All are made from
// the tree of verbs that they are part of.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/cluster_choice.h"
#include "orchestrator/cli/completion.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/man_page.h"
#include "orchestrator/cli/version.h"

namespace im::orchestrator::cli {
namespace {

// Names that can still be chosen from; a shell that is given more asks back.
constexpr size_t kHostsMax = 2000;

// Of the running cluster; nobody is told of failures while a line is typed.
std::vector<std::string> HostNames(Context context, const std::string& cluster) {
  if (!cluster.empty()) context.cluster_option = cluster;
  auto client = Client::Connect(context);
  if (!client.ok()) return {};
  const auto hosts = client->ListHosts();
  if (!hosts.ok()) return {};
  std::vector<std::string> names;
  for (const proto::HostInfo& host : *hosts) {
    if (names.size() < kHostsMax) names.push_back(host.name());
  }
  return names;
}

std::vector<std::string> PeerNames(Context context, const std::string& cluster) {
  if (!cluster.empty()) context.cluster_option = cluster;
  auto client = Client::Connect(context);
  if (!client.ok()) return {};
  grpc::ClientContext call;
  proto::ListPeersReply reply;
  if (!client->stub().ListPeers(&call, {}, &reply).ok()) return {};
  std::vector<std::string> names;
  for (const proto::PeerInfo& peer : reply.peers()) names.push_back(peer.name());
  return names;
}

int WriteManPages(const CLI::App& app, const std::string& directory) {
  for (const ManPage& page : ManPages(app, kVersion)) {
    const std::string path = absl::StrCat(directory, "/", page.name);
    std::ofstream file(path, std::ios::trunc);
    file << page.text;
    file.close();
    if (!file) {
      PrintError(absl::StrCat("cannot write ", path));
      return kExitFailure;
    }
  }
  return kExitOk;
}

}  // namespace

int RunComplete(const CLI::App& app, const Context& context,
                const std::vector<std::string>& words) {
  const CompletionSources sources{
      .hosts = [&context](const std::string& cluster) { return HostNames(context, cluster); },
      .clusters = [] { return RunningClusters(OurStateRoots()); },
      .peers = [&context](const std::string& cluster) { return PeerNames(context, cluster); }};
  for (const std::string& line : Complete(app, words, sources)) std::puts(line.c_str());
  return kExitOk;
}

void AddShell(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("completion", "Print what makes a shell complete im's command lines");
  auto shell = std::make_shared<std::string>();
  verb->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->footer(
      "  bash  source <(im completion bash)      in ~/.bashrc\n"
      "  zsh   source <(im completion zsh)       in ~/.zshrc, behind compinit\n"
      "  fish  im completion fish | source       in ~/.config/fish/config.fish\n"
      "cmake --install puts them where shells look by themselves.");
  verb->callback([&context, shell] {
    context.run = [shell] {
      std::fputs(CompletionScript(*shell).c_str(), stdout);
      return kExitOk;
    };
  });
  CLI::App* pages = app.add_subcommand("__man", "Write the manual pages into a directory");
  pages->group("");  // for packaging alone
  auto directory = std::make_shared<std::string>();
  pages->add_option("DIRECTORY", *directory, "Exists")->required();
  pages->callback([&app, &context, directory] {
    context.run = [&app, directory] { return WriteManPages(app, *directory); };
  });
}

}  // namespace im::orchestrator::cli
