// cold_start: SYN to SYN-ACK of a host that does not run; beside its program's own
// start without anything. Programs: a trivial C server, redis, and a server of Java,
// the last two where the machine has them.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

struct Program {
  std::string host;  // its name
  std::vector<std::string> argv;
  bool echoes = false;
};

// Microseconds from spawning the bare server to a connection to it.
absl::StatusOr<double> BareStart(const Program& program, Process& driver) {
  const RealClock clock;
  const Instant start = clock.Now();
  IM_ASSIGN_OR_RETURN(Process server,
                      Process::Start({.argv = program.argv, .discard_output = true}));
  IM_RETURN_IF_ERROR(AskUntilOk(driver, "connect 1 127.0.0.1 7000"));
  return std::chrono::duration<double, std::micro>(clock.Now() - start).count();
}

constexpr char kJavaServer[] = R"(
public class Server {
  public static void main(String[] arguments) throws Exception {
    java.net.ServerSocket server = new java.net.ServerSocket(7000);
    while (true) {
      java.net.Socket client = server.accept();
      new Thread(() -> {
        try { client.getInputStream().transferTo(client.getOutputStream()); }
        catch (java.io.IOException ended) {}
      }).start();
    }
  }
}
)";

std::optional<std::string> InPath(const std::string& name) {
  for (const char* directory : {"/usr/bin", "/usr/local/bin"}) {
    const std::string path = absl::StrCat(directory, "/", name);
    if (std::filesystem::exists(path)) return path;
  }
  return std::nullopt;
}

std::vector<Program> Programs(const RunOptions& options) {
  std::vector<Program> programs = {
      {"server", {options.bin + "/im-peer", "serve", "--echo", "7000"}, true}};
  if (const auto redis = InPath("redis-server")) {
    programs.push_back(
        {"redis", {*redis, "--port", "7000", "--save", "", "--protected-mode", "no"}});
  } else {
    options.skip("redis", "there is no redis-server", /*failed=*/false);
  }
  const auto java = InPath("java"), javac = InPath("javac");
  if (java && javac) {
    const std::string directory = std::filesystem::temp_directory_path();
    std::ofstream(directory + "/Server.java") << kJavaServer;
    const auto compiled = RunCommand({*javac, "-d", directory, directory + "/Server.java"});
    if (compiled.ok()) {
      programs.push_back({"java", {*java, "-cp", directory, "Server"}, true});
    } else {
      options.skip("java", std::string(compiled.status().message()), /*failed=*/true);
    }
  } else {
    options.skip("java", "there is no JDK", /*failed=*/false);
  }
  return programs;
}

std::string HostsText(const std::vector<Program>& programs) {
  std::string text;
  for (const Program& program : programs) {
    absl::StrAppend(&text, "  ", program.host, ": {working_dir: /, command: [\"",
                    absl::StrJoin(program.argv, "\", \""), "\"]}\n");
  }
  return text;
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const std::vector<Program> programs = Programs(options);
  IM_ASSIGN_OR_RETURN(auto cluster, TestCluster::Up(options.bin, HostsText(programs)));
  IM_ASSIGN_OR_RETURN(Process through_im, cluster->Drive());
  IM_ASSIGN_OR_RETURN(Process native,
                      Process::Start({.argv = {options.bin + "/im-peer", "drive"}}));
  Table table("cold_start");
  for (int i = 0; i < options.repeat; ++i) {
    for (const Program& program : programs) {
      options.Progress(i, program.host);
      const std::string way = absl::StrCat("im, ", program.host);
      IM_ASSIGN_OR_RETURN(
          const double syn_us,
          AskNumber(through_im, absl::StrCat("connect 1 ", program.host, " 7000"), "us"));
      table.Add("SYN to SYN-ACK", way, "us", syn_us);
      if (program.echoes) {
        IM_ASSIGN_OR_RETURN(const double ping_us, AskNumber(through_im, "ping 1 1", "us"));
        table.Add("SYN to first answered byte", way, "us", syn_us + ping_us);
      }
      IM_RETURN_IF_ERROR(cluster->Im({"release", program.host}).status());
      IM_ASSIGN_OR_RETURN(const double bare_us, BareStart(program, native));
      table.Add("start to connected", absl::StrCat("bare program, ", program.host), "us", bare_us);
    }
  }
  through_im.Finish();
  return table.Take();
}

}  // namespace

Scenario ColdStart() {
  return {.name = "cold_start",
          .description = "first connection to a host that does not run",
          .default_repeat = 100,
          .run = Run,
          .start_s = 2,
          .repeat_s = 0.9};
}

}  // namespace im::bench
