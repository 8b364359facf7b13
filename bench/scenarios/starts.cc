// starts: a server that does not run until it is needed, by several means: the
// first answered byte of a host of ours that does not run; of the same program
// started as a container by runc and crun, and bare; and of a program that
// systemd-socket-activate or inetd starts for each connection (cat: it answers
// what it reads).
//
// Of what is started by hand, time is from its start to the answer; of what a
// connection starts, from the SYN. Socket activation accepts in the program's
// place and gives it no address, namespace or tunnel.

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "bench/container_start.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

constexpr int kPort = 7000;
constexpr int kBarePort = 7100;
constexpr int kRuncPort = 7101;
constexpr int kCrunPort = 7102;
constexpr int kActivatedPort = 7103;
constexpr int kInetdPort = 7104;

// Of one start, in microseconds.
struct Way {
  std::string name;
  std::function<absl::StatusOr<double>()> measure;
};

std::string Connect(const std::string& host, int port) {
  return absl::StrCat("connect 1 ", host, " ", port);
}

double MicrosecondsSince(Instant begin) {
  return std::chrono::duration<double, std::micro>(RealClock().Now() - begin).count();
}

// A byte there and back over the connection, which is closed then.
absl::Status Answer(Process& driver) {
  IM_RETURN_IF_ERROR(AskNumber(driver, "ping 1 1", "us").status());
  return driver.Ask("close 1").status();
}

// Not what the driver measures: a program may start between its two commands.
absl::StatusOr<double> FromSyn(Process& driver, const std::string& host, int port) {
  const Instant begin = RealClock().Now();
  IM_RETURN_IF_ERROR(AskNumber(driver, Connect(host, port), "us").status());
  IM_RETURN_IF_ERROR(Answer(driver));
  return MicrosecondsSince(begin);
}

// `start` gives the process that the server is, or that waits for it.
absl::StatusOr<double> FromStart(Process& driver, int port,
                                 const std::function<absl::StatusOr<Process>()>& start) {
  const Instant begin = RealClock().Now();
  IM_ASSIGN_OR_RETURN(const Process process, start());
  while (!AskNumber(driver, Connect("127.0.0.1", port), "us").ok()) {
    // One that has ended and was not waited for has no memory.
    if (ResidentMegabytesOf(process.pid()) == 0 || RealClock().Now() - begin > kAnswerTimeout) {
      return absl::UnavailableError("its program does not run");
    }
  }
  IM_RETURN_IF_ERROR(Answer(driver));
  return MicrosecondsSince(begin);
}

class StartsOfAll {
 public:
  explicit StartsOfAll(const RunOptions& options) : options_(options) {}

  absl::Status Up() {
    IM_ASSIGN_OR_RETURN(Process driver, Process::Start({.argv = {Peer(), "drive"}}));
    driver_ = std::make_unique<Process>(std::move(driver));
    IM_RETURN_IF_ERROR(AddIm());
    ways_.push_back({"bare program", [this] {
                       return FromStart(*driver_, kBarePort, [this] {
                         return Process::Start(
                             {.argv = {Peer(), "serve", "--echo", absl::StrCat(kBarePort)}});
                       });
                     }});
    Attempt("runc", "runc", [this] { return AddContainer("runc", kRuncPort); });
    Attempt("crun", "crun", [this] { return AddContainer("crun", kCrunPort); });
    Attempt("socket activation", "systemd-socket-activate", [this] {
      return AddServer("socket activation", kActivatedPort,
                       {"systemd-socket-activate", absl::StrCat("--listen=", kActivatedPort),
                        "--accept", "--inetd", "cat"});
    });
    Attempt("inetd", "inetd", [this] { return AddInetd(); });
    return absl::OkStatus();
  }

  std::vector<Row> Measure() {
    Table table("starts");
    for (int i = 0; i < options_.repeat; ++i) {
      for (auto way = ways_.begin(); way != ways_.end();) {
        options_.Progress(i, way->name);
        const absl::StatusOr<double> us = way->measure();
        if (us.ok()) {
          table.Add("first answered byte", way->name, "us", *us);
        } else {
          Failed(way->name, us.status());
        }
        way = us.ok() ? way + 1 : ways_.erase(way);
      }
    }
    return table.Take();
  }

 private:
  std::string Peer() const { return options_.bin + "/im-peer"; }

  void Failed(const std::string& name, const absl::Status& status) {
    options_.skip(name, std::string(status.message()), /*failed=*/true);
  }

  void Attempt(const std::string& name, const std::string& program,
               const std::function<absl::Status()>& add) {
    if (!options_.WantsPeer(name)) return;
    if (!IsInstalled(program)) {
      options_.skip(name, program + " is not installed (bench/peers/README.md)", /*failed=*/false);
    } else if (const absl::Status status = add(); !status.ok()) {
      options_.skip(name, absl::StrCat("it does not work here: ", status.message()),
                    /*failed=*/false);
    }
  }

  absl::Status AddIm() {
    IM_ASSIGN_OR_RETURN(
        cluster_, TestCluster::Up(options_.bin, absl::StrCat("  server: {command: [", Peer(),
                                                             ", serve, --echo, \"", kPort,
                                                             "\"]}\n")));
    IM_ASSIGN_OR_RETURN(Process driver, cluster_->Drive());
    guest_ = std::make_unique<Process>(std::move(driver));
    ways_.push_back({"im", [this]() -> absl::StatusOr<double> {
                       IM_ASSIGN_OR_RETURN(const double us, FromSyn(*guest_, "server", kPort));
                       IM_RETURN_IF_ERROR(cluster_->Im({"release", "server"}).status());
                       return us;
                     }});
    return absl::OkStatus();
  }

  absl::Status AddContainer(const std::string& runtime, int port) {
    IM_ASSIGN_OR_RETURN(auto made, ContainerStart::Prepare(runtime, options_.bin, port));
    ContainerStart* const container = made.get();
    containers_.push_back(std::move(made));
    const auto measure = [=, this]() -> absl::StatusOr<double> {
      const auto us = FromStart(*driver_, port, [container] { return container->Start(); });
      const absl::Status removed = container->Remove();
      if (us.ok() && !removed.ok()) return removed;
      return us;
    };
    // Once for its own files to be in memory, as everybody's are.
    IM_RETURN_IF_ERROR(measure().status());
    ways_.push_back({runtime, measure});
    return absl::OkStatus();
  }

  absl::Status AddServer(const std::string& name, int port, const std::vector<std::string>& argv) {
    IM_ASSIGN_OR_RETURN(Process server, Process::Start({.argv = argv, .discard_output = true}));
    servers_.push_back(std::move(server));
    IM_RETURN_IF_ERROR(AskUntilOk(*driver_, Connect("127.0.0.1", port)));
    IM_RETURN_IF_ERROR(Answer(*driver_));
    ways_.push_back({name, [=, this] { return FromSyn(*driver_, "127.0.0.1", port); }});
    return absl::OkStatus();
  }

  absl::Status AddInetd() {
    const std::string config = std::filesystem::temp_directory_path() / "im-bench-inetd.conf";
    IM_ASSIGN_OR_RETURN(const std::string cat, FirstLine("command -v cat"));
    std::ofstream(config) << "127.0.0.1:" << kInetdPort << " stream tcp nowait root " << cat
                          << " cat\n";
    // -i: in the foreground; -R 0: as often as it is wanted.
    return AddServer("inetd", kInetdPort, {"inetd", "-i", "-R", "0", config});
  }

  const RunOptions& options_;
  std::unique_ptr<Process> driver_, guest_;
  std::unique_ptr<TestCluster> cluster_;
  std::vector<std::unique_ptr<ContainerStart>> containers_;
  std::vector<Process> servers_;
  std::vector<Way> ways_;
};

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  StartsOfAll starts(options);
  IM_RETURN_IF_ERROR(starts.Up());
  return starts.Measure();
}

}  // namespace

Scenario Starts() {
  return {.name = "starts",
          .description = "first answer of what does not run: im, runc, crun, socket activation",
          .default_repeat = 20,
          .run = Run,
          .start_s = 2,
          .repeat_s = 0.4};
}

}  // namespace im::bench
