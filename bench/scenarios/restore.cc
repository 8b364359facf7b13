// restore: redis with 10 and with 500 MB of data is taken to disk while a client
// is connected, and asked again: over that connection, and over a new one. Beside
// it the same redis, with the same data, taken there and back by CRIU alone.
//
//   im     a host with on_release: checkpoint. Dump: from the begin of its release
//          to the end, by im's events. Answer: from the question, which brings
//          the host back, to the answer
//   criu   behind a veth pair, in namespaces of its own. Dump: from the start of
//          `criu dump` to its end. Answer: from the start of `criu restore` to the
//          answer to a question right after it. (Nothing brings it back because
//          somebody asks, and who asked while it is away would be refused)
//
// Images are where all files of a run are, in memory (confinement.h): it is the
// page cache that is measured, and no disk. All data must be there again, or the
// way has failed.

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"
#include "bench/veth_pair.h"
#include "orchestrator/criu.h"

namespace im::bench {
namespace {

// Numbers of connections for im-peer; the old one of a redis is its size.
constexpr int kNewConnection = 1;
constexpr int kFirstPort = 7200;
// Memory that must be free, for each byte of data: redis with what it adds, and its
// images, twice for ours and for the peer's, and a margin.
constexpr double kMemoryByData = 8;

struct Size {
  std::string name;
  int megabytes;
};

// One redis, by one way.
struct Redis {
  std::string way;
  Size size;
  Process* client;
  std::string address;
  int port;
  std::function<absl::StatusOr<double>()> dump;  // milliseconds
  std::function<absl::Status()> restore;
};

double MillisecondsSince(Instant begin) {
  return std::chrono::duration<double, std::milli>(RealClock().Now() - begin).count();
}

std::string Connecting(const Redis& redis, int id) {
  return absl::StrCat("connect ", id, " ", redis.address, " ", redis.port);
}

// What redis answers must be `expected`.
absl::Status Ask(const Redis& redis, int id, const std::string& words,
                 const std::string& expected) {
  IM_ASSIGN_OR_RETURN(const std::string line,
                      redis.client->Ask(absl::StrCat("ask ", id, " ", words)));
  const auto answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object() || answer.value("answer", "") != expected) {
    return absl::InternalError(absl::StrCat(words, ": ", line));
  }
  return absl::OkStatus();
}

int KeysOf(const Redis& redis) { return redis.size.megabytes * 1000; }  // of 1,000 bytes each

int OldConnectionOf(const Redis& redis) { return redis.size.megabytes; }

// Connects, and gives it its data.
absl::Status Fill(const Redis& redis) {
  const int id = OldConnectionOf(redis);
  IM_RETURN_IF_ERROR(AskUntilOk(*redis.client, Connecting(redis, id)));
  return Ask(redis, id,
             absl::StrCat("EVAL \"for i = 1, ", KeysOf(redis),
                          " do redis.call('SET', i, string.rep('x', 1000)) end return 1\" 0"),
             ":1");
}

absl::Status MeasureOnce(const Redis& redis, bool on_new, Table& table) {
  const int id = on_new ? kNewConnection : OldConnectionOf(redis);
  IM_ASSIGN_OR_RETURN(const double dump_ms, redis.dump());
  const Instant begin = RealClock().Now();
  IM_RETURN_IF_ERROR(redis.restore());
  if (on_new) IM_RETURN_IF_ERROR(AskNumber(*redis.client, Connecting(redis, id), "us").status());
  IM_RETURN_IF_ERROR(Ask(redis, id, "PING", "+PONG"));
  const double answer_ms = MillisecondsSince(begin);
  IM_RETURN_IF_ERROR(Ask(redis, id, "DBSIZE", absl::StrCat(":", KeysOf(redis))));
  if (on_new) IM_RETURN_IF_ERROR(redis.client->Ask(absl::StrCat("close ", id)).status());
  const std::string& size = redis.size.name;
  if (!on_new) table.Add(size + ", dump", redis.way, "ms", dump_ms);
  table.Add(absl::StrCat(size, ", answer on ", on_new ? "a new connection" : "the old connection"),
            redis.way, "ms", answer_ms);
  return absl::OkStatus();
}

// ---- im ----------------------------------------------------------------------

std::string HostName(const Size& size) { return absl::StrCat("redis-", size.megabytes); }

std::string HostText(const Size& size) {
  return absl::StrCat("  ", HostName(size), ": {command: [redis-server, --port, \"", kFirstPort,
                      "\", --save, \"\", --protected-mode, \"no\"], working_dir: /, "
                      "on_release: checkpoint, start_timeout: 60s, stop_grace_period: 60s, "
                      "idle: {after: 1h, release_after: 10ms, timers: ignore}}\n");
}

// From Releasing to Checkpointed, in milliseconds; by lines of `im events --json`.
absl::StatusOr<double> LastDump(const std::string& events) {
  int64_t began = 0, ended = 0;
  for (const auto& line : absl::StrSplit(events, '\n', absl::SkipEmpty())) {
    const auto event = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object()) continue;
    const std::string to = event.value("to", "");
    if (to == "releasing") began = event.value("unix_nanos", int64_t{0});
    if (to == "checkpointed") ended = event.value("unix_nanos", int64_t{0});
  }
  if (began == 0 || ended <= began) return absl::InternalError("no checkpoint in its events");
  return static_cast<double>(ended - began) / 1e6;
}

absl::StatusOr<double> DumpHost(TestCluster& cluster, const std::string& host) {
  IM_RETURN_IF_ERROR(cluster.Im({"suspend", host}).status());
  IM_RETURN_IF_ERROR(
      cluster.Im({"wait", host, "--state", "checkpointed", "--timeout", "55s"}).status());
  IM_ASSIGN_OR_RETURN(const std::string events,
                      cluster.Im({"events", host, "--json", "--newest", "20"}));
  return LastDump(events);
}

// ---- CRIU alone --------------------------------------------------------------

// Namespaces for redis, and CRIU in them.
class BareCriu {
 public:
  static absl::StatusOr<std::unique_ptr<BareCriu>> Up(const std::string& criu) {
    // Its pid 1 ignores the end of children, so that nothing is left of them: the
    // kernel then gives their numbers again.
    IM_ASSIGN_OR_RETURN(Process holder,
                        StartBehindVeth({"unshare", "--mount", "--pid", "--fork", "--kill-child",
                                         "--mount-proc", "env", "--ignore-signal=CHLD", "sleep",
                                         "infinity"}));
    std::unique_ptr<BareCriu> bare(new BareCriu(criu, std::move(holder)));
    bare->folder_ = std::filesystem::temp_directory_path() / "im-bench-XXXXXX";
    if (mkdtemp(bare->folder_.data()) == nullptr) return ErrnoStatus(bare->folder_);
    IM_RETURN_IF_ERROR(Await("a namespace for CRIU", [&] {
      return RunCommand(bare->Inside({"grep", "-q", "sleep", "/proc/1/comm"})).ok();
    }));
    // CRIU tries what sockets can do here over loopback.
    IM_RETURN_IF_ERROR(RunCommand(bare->Inside({"ip", "link", "set", "lo", "up"})).status());
    return bare;
  }
  ~BareCriu() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  absl::Status StartRedis(int port) {
    return RunCommand(Inside({"redis-server", "--port", absl::StrCat(port), "--save", "",
                              "--protected-mode", "no", "--daemonize", "yes", "--pidfile",
                              PidFile(port)}))
        .status();
  }

  absl::StatusOr<double> Dump(int port) {
    int pid = 0;
    if (!(std::ifstream(PidFile(port)) >> pid)) return absl::NotFoundError("redis has no pid file");
    std::error_code error;
    std::filesystem::remove_all(Images(port), error);
    if (!error) std::filesystem::create_directory(Images(port), error);
    if (error) return absl::InternalError("a folder for images: " + error.message());
    const Instant begin = RealClock().Now();
    IM_RETURN_IF_ERROR(
        Criu(port, {"dump", "--tree", absl::StrCat(pid), "--network-lock", "skip"}));
    return MillisecondsSince(begin);
  }

  absl::Status Restore(int port) { return Criu(port, {"restore", "--restore-detached"}); }

 private:
  BareCriu(const std::string& criu, Process holder) : criu_(criu), holder_(std::move(holder)) {}

  std::vector<std::string> Inside(const std::vector<std::string>& argv) const {
    const std::string pid = absl::StrCat(holder_.pid());
    std::vector<std::string> all = {"nsenter", "--target", pid, "--net", "--mount",
                                    absl::StrCat("--pid=/proc/", pid, "/ns/pid_for_children")};
    all.insert(all.end(), argv.begin(), argv.end());
    return all;
  }
  std::string PidFile(int port) const { return absl::StrCat(folder_, "/", port, ".pid"); }
  std::string Images(int port) const { return absl::StrCat(folder_, "/images-", port); }

  // The same options as im's own.
  absl::Status Criu(int port, const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {criu_};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    for (const std::string& word :
         {std::string("--images-dir"), Images(port), std::string("--log-file"),
          std::string("criu.log"), std::string("-v1"), std::string("--tcp-established"),
          std::string("--manage-cgroups=ignore")}) {
      argv.push_back(word);
    }
    const absl::Status status = RunCommand(Inside(argv)).status();
    return status.ok() ? status : Annotate(status, FirstError(Images(port) + "/criu.log"));
  }

  static std::string FirstError(const std::string& log) {
    std::ifstream file(log);
    for (std::string line; std::getline(file, line);) {
      if (absl::StrContains(line, "Error (") && !absl::StrContains(line, "rlimit")) return line;
    }
    return "criu";
  }

  const std::string criu_;
  Process holder_;
  std::string folder_;
};

// ---- both --------------------------------------------------------------------

double FreeMegabytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "MemAvailable:")) return std::stod(line.substr(13)) * 1024 / 1e6;
  }
  return 0;
}

std::vector<Size> Sizes(const RunOptions& options) {
  std::vector<Size> sizes = {{"10 MB", 10}};
  if (options.quick) return sizes;
  const Size large = {"500 MB", 500};
  if (FreeMegabytes() > large.megabytes * kMemoryByData) {
    sizes.push_back(large);
  } else {
    options.skip(large.name, "less than 4 GB of memory are free", /*failed=*/false);
  }
  return sizes;
}

class Restores {
 public:
  Restores(const RunOptions& options, const std::string& criu)
      : options_(options), criu_(criu), sizes_(Sizes(options)) {}

  absl::Status Up() {
    IM_RETURN_IF_ERROR(AddHosts());
    if (!options_.WantsPeer("criu")) return absl::OkStatus();
    if (const absl::Status status = AddBare(); !status.ok()) Failed("criu", status);
    return absl::OkStatus();
  }

  std::vector<Row> Measure() {
    Table table("restore");
    for (int i = 0; i < options_.repeat; ++i) {
      for (const bool on_new : {false, true}) {
        for (auto redis = all_.begin(); redis != all_.end();) {
          options_.Progress(i, absl::StrCat(redis->way, ", ", redis->size.name));
          const absl::Status status = MeasureOnce(*redis, on_new, table);
          if (!status.ok()) Failed(absl::StrCat(redis->way, ", ", redis->size.name), status);
          redis = status.ok() ? redis + 1 : all_.erase(redis);
        }
      }
    }
    return table.Take();
  }

 private:
  void Failed(const std::string& what, const absl::Status& status) {
    options_.skip(what, std::string(status.message()), /*failed=*/true);
  }

  absl::Status AddHosts() {
    std::string hosts;
    for (const Size& size : sizes_) hosts += HostText(size);
    IM_ASSIGN_OR_RETURN(cluster_, TestCluster::Up(options_.bin, hosts));
    IM_ASSIGN_OR_RETURN(Process guest, cluster_->Drive());
    guest_ = std::make_unique<Process>(std::move(guest));
    for (const Size& size : sizes_) {
      const std::string host = HostName(size);
      Redis redis = {"im", size, guest_.get(), host, kFirstPort,
                     [=, this] { return DumpHost(*cluster_, host); },
                     [] { return absl::OkStatus(); }};
      IM_RETURN_IF_ERROR(Fill(redis));
      all_.push_back(std::move(redis));
    }
    return absl::OkStatus();
  }

  absl::Status AddBare() {
    IM_ASSIGN_OR_RETURN(bare_, BareCriu::Up(criu_));
    IM_ASSIGN_OR_RETURN(Process client,
                        Process::Start({.argv = {options_.bin + "/im-peer", "drive"}}));
    client_ = std::make_unique<Process>(std::move(client));
    int port = kFirstPort;
    for (const Size& size : sizes_) {
      IM_RETURN_IF_ERROR(bare_->StartRedis(port));
      Redis redis = {"criu", size, client_.get(), kVethServer, port,
                     [=, this] { return bare_->Dump(port); },
                     [=, this] { return bare_->Restore(port); }};
      IM_RETURN_IF_ERROR(Fill(redis));
      all_.push_back(std::move(redis));
      ++port;
    }
    return absl::OkStatus();
  }

  const RunOptions& options_;
  const std::string criu_;
  const std::vector<Size> sizes_;
  std::unique_ptr<TestCluster> cluster_;
  std::unique_ptr<BareCriu> bare_;
  std::unique_ptr<Process> guest_, client_;
  std::vector<Redis> all_;
};

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  if (!IsInstalled("redis-server")) {
    options.skip("", "redis-server is not installed (bench/peers/README.md)", /*failed=*/false);
    return std::vector<Row>();
  }
  const absl::StatusOr<std::string> criu = orchestrator::FindCriu();
  if (!criu.ok()) {
    options.skip("", std::string(criu.status().message()), /*failed=*/false);
    return std::vector<Row>();
  }
  Restores restores(options, *criu);
  IM_RETURN_IF_ERROR(restores.Up());
  return restores.Measure();
}

}  // namespace

Scenario Restore() {
  return {.name = "restore",
          .description = "redis to disk with its connection and back: im, and CRIU alone",
          .default_repeat = 10,
          .run = Run,
          .start_s = 10,
          .repeat_s = 10};
}

}  // namespace im::bench
