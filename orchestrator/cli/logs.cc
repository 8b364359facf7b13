// im logs HOST…: what the hosts' programs wrote.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <map>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/log_reader.h"

namespace im::orchestrator::cli {
namespace {

// How often files are looked at with -f: below what a reader notices.
constexpr auto kFollowInterval = std::chrono::milliseconds(100);
// How often the hosts' list is asked for with -f: a guest's or a new
// incarnation's file may lie elsewhere.
constexpr int kRoundsBetweenLists = 10;

struct LogsOptions {
  std::vector<std::string> hosts;
  bool follow = false;
  uint64_t lines = 200;
};

class Printer {
 public:
  Printer(const Terminal& terminal, size_t host_width, bool several)
      : terminal_(terminal), width_(host_width), several_(several) {}

  void Print(const std::string& host, absl::string_view text) {
    if (text.empty()) return;
    if (!several_) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      if (text.back() != '\n') std::fputc('\n', stdout);
    } else {
      if (text.back() == '\n') text.remove_suffix(1);
      std::string padded = host;
      padded.resize(std::max(width_, host.size()), ' ');
      for (absl::string_view line : absl::StrSplit(text, '\n')) {
        std::puts(absl::StrCat(terminal_.Paint(padded, ColourOf(host)), " | ", line).c_str());
      }
    }
    std::fflush(stdout);
  }

 private:
  // Each host its own, as far as there are some that are told apart easily.
  Colour ColourOf(const std::string& host) {
    constexpr Colour kColours[] = {Colour::kCyan, Colour::kYellow, Colour::kGreen, Colour::kMagenta,
                                   Colour::kBlue};
    const size_t next = colours_.size() % std::size(kColours);
    return colours_.try_emplace(host, kColours[next]).first->second;
  }

  std::map<std::string, Colour> colours_;
  const Terminal terminal_;
  const size_t width_;
  const bool several_;
};

int Run(const Context& context, const LogsOptions& options) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  if (const absl::Status may = client->MayReachHosts(); !may.ok()) return Fail(may);
  auto hosts = client->ListHosts(options.hosts);
  if (!hosts.ok()) return Fail(hosts.status());
  size_t width = 0;
  for (const proto::HostInfo& host : *hosts) width = std::max(width, host.name().size());
  Printer printer(context.terminal, width, hosts->size() != 1);
  std::map<std::string, LogReader> readers;  // by path
  for (const proto::HostInfo& host : *hosts) {
    if (host.log_path().empty()) continue;
    LogReader& reader = readers.try_emplace(host.log_path(), host.log_path()).first->second;
    printer.Print(host.name(), reader.ReadTail(options.lines));
  }
  for (int round = 1; options.follow; ++round) {
    for (const proto::HostInfo& host : *hosts) {
      if (host.log_path().empty()) continue;
      LogReader& reader = readers.try_emplace(host.log_path(), host.log_path()).first->second;
      printer.Print(host.name(), reader.ReadNew());
    }
    std::this_thread::sleep_for(kFollowInterval);
    if (round % kRoundsBetweenLists != 0) continue;
    auto newer = client->ListHosts(options.hosts);
    if (absl::IsUnavailable(newer.status())) {
      PrintError("the cluster has ended");
      return kExitOk;
    }
    if (newer.ok()) hosts = std::move(newer);
  }
  return kExitOk;
}

}  // namespace

void AddLogs(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("logs", "Show what the hosts' programs wrote");
  auto options = std::make_shared<LogsOptions>();
  verb->add_option("HOST", options->hosts, "The hosts, or services with replicas; default: all");
  verb->add_flag("-f,--follow", options->follow, "Go on with what is written");
  verb->add_option("-n,--lines", options->lines, "So many of the last lines, 0: all; default 200")
      ->check(CLI::NonNegativeNumber);
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
