// im-canary FAULT: commits one fault on purpose, so that canary_test.py can see
// that this build's sanitizer reports it, with its suppressions and options.
//
// The races are such as suppressions for uninstrumented libraries easily hide:
// in a class of ours below Abseil's templates, and in a handler of ours that
// gRPC calls.

#include <grpcpp/grpcpp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/event_loop.h"
#include "proto/api.grpc.pb.h"

namespace im {
namespace {

constexpr int kRounds = 2000;

void BothAtOnce(const std::function<void()>& one, const std::function<void()>& other) {
  std::thread beside([&] {
    for (int i = 0; i < kRounds; ++i) one();
  });
  for (int i = 0; i < kRounds; ++i) other();
  beside.join();
}

// A loop belongs to one thread; two watch descriptors of it here.
void RaceInMap() {
  RealClock clock;
  auto loop = EventLoop::Create(clock);
  const auto watch = [&] { auto held = (*loop)->WatchFd(STDIN_FILENO, 0, [](uint32_t) {}); };
  BothAtOnce(watch, watch);
}

void RaceInPlainField() {
  int64_t packets = 0;
  BothAtOnce([&] { ++packets; }, [&] { ++packets; });
  std::printf("%d\n", static_cast<int>(packets));
}

// Written by gRPC's threads and ours, without a lock.
class RacingService final : public proto::Orchestrator::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetCluster(grpc::CallbackServerContext* context,
                                       const proto::GetClusterRequest*,
                                       proto::Cluster*) override {
    Count();
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  void Count() { ++calls_; }

 private:
  int64_t calls_ = 0;
};

void RaceInHandler() {
  char pattern[] = "/tmp/im-canary-XXXXXX";
  const std::string directory = mkdtemp(pattern);
  const std::string address = absl::StrCat("unix:", directory, "/api.sock");
  {
    RacingService service;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    auto stub = proto::Orchestrator::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    for (int i = 0; i < 50; ++i) {
      std::thread beside([&] { service.Count(); });
      grpc::ClientContext context;
      proto::Cluster cluster;
      stub->GetCluster(&context, {}, &cluster).IgnoreError();
      beside.join();
    }
    server->Shutdown();
  }
  rmdir(directory.c_str());
}

void Overflow() {
  volatile size_t size = 7;
  auto* bytes = new char[size];
  std::memset(bytes, 1, size);
  std::printf("%d\n", bytes[size]);
  delete[] bytes;
}

void Leak() {
  char* volatile bytes = new char[100];
  std::printf("%d\n", bytes != nullptr);
  bytes = nullptr;
}

void Undefined() {
  volatile int big = INT_MAX;
  big = big + 1;
}

int Main(int argc, char** argv) {
  const struct {
    const char* name;
    void (*commit)();
  } kFaults[] = {{"none", [] {}},
                 {"race_in_map", RaceInMap},
                 {"race_in_plain_field", RaceInPlainField},
                 {"race_in_handler", RaceInHandler},
                 {"overflow", Overflow},
                 {"leak", Leak},
                 {"undefined", Undefined}};
  for (const auto& fault : kFaults) {
    if (argc != 2 || std::strcmp(argv[1], fault.name) != 0) continue;
    fault.commit();
    return 0;
  }
  std::fputs("usage: im-canary FAULT\n", stderr);
  return 2;
}

}  // namespace
}  // namespace im

int main(int argc, char** argv) { return im::Main(argc, argv); }
