// The server against a real gRPC client over a Unix socket. The test's thread
// is the client; the loop has a thread of its own, as in imd.

#include "orchestrator/api_server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "orchestrator/fake_api_backend.h"
#include "proto/api.grpc.pb.h"

namespace im::orchestrator {
namespace {

constexpr std::chrono::seconds kDeadline(20);

class ApiServerTest : public ::testing::Test {
 protected:
  ApiServerTest() {
    char pattern[] = "/tmp/im-api-test-XXXXXX";
    directory_ = mkdtemp(pattern);
    path_ = directory_ + "/api.sock";
    auto loop = EventLoop::Create(clock_);
    loop_ = *std::move(loop);
    thread_ = std::thread([this] { loop_->Run(); });
    StartServer({.socket_path = path_});
  }
  ~ApiServerTest() override {
    OnLoop([this] { server_.reset(); });
    StopLoop();
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  void StartServer(const ApiServer::Options& options) {
    OnLoop([&] {
      server_.reset();
      absl::StatusOr<std::unique_ptr<ApiServer>> server =
          ApiServer::Start(options, *loop_, backend_);
      ASSERT_TRUE(server.ok()) << server.status();
      server_ = *std::move(server);
    });
    stub_ = NewStub();
  }
  std::unique_ptr<proto::Orchestrator::Stub> NewStub() {
    // No sharing of connections between stubs.
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return proto::Orchestrator::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("unix:", path_), grpc::InsecureChannelCredentials(), arguments));
  }
  // Runs `what` on the loop's thread and waits.
  void OnLoop(const std::function<void()>& what) {
    std::promise<void> done;
    loop_->Post([&] {
      what();
      done.set_value();
    });
    ASSERT_EQ(done.get_future().wait_for(kDeadline), std::future_status::ready);
  }
  void StopLoop() {
    if (!thread_.joinable()) return;
    loop_->Stop();
    thread_.join();
  }
  // Calls that are over at the client are over here soon after.
  void AwaitCalls(size_t open) {
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    size_t now_open = 0;
    do {
      OnLoop([&] { now_open = server_->open_calls(); });
    } while (now_open != open && std::chrono::steady_clock::now() < end);
    EXPECT_EQ(now_open, open);
  }
  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  }
  void Append(const std::string& host, const std::string& text) {
    OnLoop([&] {
      proto::Event event;
      event.set_host(host);
      event.set_text(text);
      backend_.log.Append(event);
    });
  }

  std::string directory_, path_;
  RealClock clock_;
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
  FakeApiBackend backend_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<proto::Orchestrator::Stub> stub_;
};

TEST_F(ApiServerTest, AnswersQuestions) {
  {
    grpc::ClientContext context;
    SetDeadline(context);
    proto::Cluster cluster;
    ASSERT_TRUE(stub_->GetCluster(&context, {}, &cluster).ok());
    EXPECT_EQ(cluster.name(), "shop");
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    proto::ListHostsReply reply;
    ASSERT_TRUE(stub_->ListHosts(&context, {}, &reply).ok());
    EXPECT_EQ(reply.hosts_size(), 1);
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    proto::HostRequest request;
    request.set_name("db");
    proto::WhyReply reply;
    ASSERT_TRUE(stub_->Why(&context, request, &reply).ok());
    EXPECT_EQ(reply.keeps_up(0), "cpu 12%");
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    proto::HostRequest request;
    request.set_name("db");
    proto::HostInfo reply;
    ASSERT_TRUE(stub_->Release(&context, request, &reply).ok());
    EXPECT_EQ(reply.state(), "imaginary");
  }
  AwaitCalls(0);
}

TEST_F(ApiServerTest, FailuresKeepTheirCodeAndText) {
  grpc::ClientContext context;
  SetDeadline(context);
  proto::HostRequest request;
  request.set_name("db");
  proto::HostInfo reply;
  const grpc::Status status = stub_->Suspend(&context, request, &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "db does not run");
}

TEST_F(ApiServerTest, TheSocketIsTheUsersAlone) {
  struct stat st {};
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(ApiServerTest, TheSocketMayBeGivenToAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  StartServer({.socket_path = path_, .owner = 1234});
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(info.st_uid, 1234u);
  EXPECT_EQ(info.st_gid, getegid());
}

TEST_F(ApiServerTest, WakeAnswersWhenTheHostRuns) {
  std::thread client([this] {
    grpc::ClientContext context;
    SetDeadline(context);
    proto::WakeRequest request;
    request.set_name("db");
    proto::HostInfo reply;
    const grpc::Status status = stub_->Wake(&context, request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(reply.state(), "running");
  });
  ASSERT_TRUE(backend_.Await("wake db"));
  OnLoop([this] {
    EXPECT_EQ(server_->open_calls(), 1u);
    proto::HostInfo info;
    info.set_state("running");
    backend_.waiting.at(0)(info);
    backend_.waiting.at(0)(absl::InternalError("twice does no harm"));
  });
  client.join();
  AwaitCalls(0);
}

TEST_F(ApiServerTest, AClientThatGoesAwayLeavesNothing) {
  {
    grpc::ClientContext context;
    SetDeadline(context);
    grpc::CompletionQueue queue;
    proto::WakeRequest request;
    request.set_name("db");
    proto::HostInfo reply;
    grpc::Status status;
    const auto call = stub_->AsyncWake(&context, request, &queue);
    call->Finish(&reply, &status, nullptr);
    ASSERT_TRUE(backend_.Await("wake db"));
    context.TryCancel();
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  }
  AwaitCalls(0);
  // The backend does not know, and answers.
  OnLoop([this] { backend_.waiting.at(0)(proto::HostInfo()); });
}

TEST_F(ApiServerTest, EventsAreTheKeptOnesAndEndWithoutFollow) {
  Append("db", "1");
  Append("web", "2");
  Append("db", "3");
  grpc::ClientContext context;
  SetDeadline(context);
  proto::EventsRequest request;
  request.add_names("db");
  const auto reader = stub_->Events(&context, request);
  std::vector<std::string> texts;
  proto::Event event;
  while (reader->Read(&event)) texts.push_back(event.text());
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(texts, ::testing::ElementsAre("1", "3"));
}

TEST_F(ApiServerTest, EventsOfAnUnknownHostAreAnError) {
  grpc::ClientContext context;
  SetDeadline(context);
  proto::EventsRequest request;
  request.add_names("bd");
  const auto reader = stub_->Events(&context, request);
  proto::Event event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ApiServerTest, FollowsEventsWithoutAGap) {
  Append("db", "before");
  grpc::ClientContext context;
  SetDeadline(context);
  proto::EventsRequest request;
  request.set_follow(true);
  const auto reader = stub_->Events(&context, request);
  proto::Event event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.text(), "before");
  for (int i = 0; i < 500; ++i) Append("db", absl::StrCat(i));
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(reader->Read(&event));
    ASSERT_EQ(event.text(), absl::StrCat(i));
  }
  context.TryCancel();
  while (reader->Read(&event)) {
  }
  (void)reader->Finish();
  AwaitCalls(0);
  OnLoop([this] { EXPECT_EQ(backend_.log.subscribers(), 0u); });
}

TEST_F(ApiServerTest, AReaderThatDoesNotReadIsCutOff) {
  StartServer({.socket_path = path_, .queued_events_max = 50});
  grpc::ClientContext context;
  SetDeadline(context);
  proto::EventsRequest request;
  request.set_follow(true);
  Append("db", "first");
  const auto reader = stub_->Events(&context, request);
  proto::Event event;
  ASSERT_TRUE(reader->Read(&event));
  // More than the stream's window, and nobody reads.
  const std::string text(100'000, 'x');
  for (int i = 0; i < 200; ++i) Append("db", text);
  size_t read = 0;
  while (reader->Read(&event)) ++read;
  EXPECT_LT(read, 200u);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  AwaitCalls(0);
  OnLoop([this] { EXPECT_EQ(backend_.log.subscribers(), 0u); });
}

TEST_F(ApiServerTest, AGuestLivesAsLongAsItsClient) {
  auto own = NewStub();
  grpc::ClientContext context;
  SetDeadline(context);
  const auto reader = own->Join(&context, {});
  proto::JoinReply reply;
  ASSERT_TRUE(reader->Read(&reply));
  EXPECT_EQ(reply.name(), "run-1");
  OnLoop([this] { EXPECT_EQ(backend_.guests.size(), 1u); });
  context.TryCancel();
  EXPECT_FALSE(reader->Read(&reply));
  (void)reader->Finish();
  EXPECT_TRUE(backend_.Await("leave run-1"));
  AwaitCalls(0);
}

TEST_F(ApiServerTest, AGuestThatIsRefusedHearsWhy) {
  grpc::ClientContext context;
  SetDeadline(context);
  proto::JoinRequest request;
  request.set_name("db");
  const auto reader = stub_->Join(&context, request);
  proto::JoinReply reply;
  EXPECT_FALSE(reader->Read(&reply));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::ALREADY_EXISTS);
}

TEST_F(ApiServerTest, AGuestThatEndsFromWithinDoesNotLeave) {
  grpc::ClientContext context;
  SetDeadline(context);
  const auto reader = stub_->Join(&context, {});
  proto::JoinReply reply;
  ASSERT_TRUE(reader->Read(&reply));
  OnLoop([this] {
    const ApiBackend::Done end = std::move(backend_.guests.at("run-1"));
    end(absl::UnavailableError("im down"));
  });
  EXPECT_FALSE(reader->Read(&reply));
  EXPECT_EQ(reader->Finish().error_message(), "im down");
  AwaitCalls(0);
  OnLoop([this] {
    std::lock_guard<std::mutex> lock(backend_.mutex);
    EXPECT_FALSE(backend_.notes.contains("leave run-1"));
  });
}

TEST_F(ApiServerTest, DownTellsItsProgressToTheEnd) {
  Append("", "long ago");
  grpc::ClientContext context;
  SetDeadline(context);
  proto::DownRequest request;
  request.set_force(true);
  const auto reader = stub_->Down(&context, request);
  ASSERT_TRUE(backend_.Await("down by force"));
  // The end and the server's own end follow at once: nothing may get lost.
  OnLoop([this] {
    proto::Event event;
    event.set_text("db is released");
    backend_.log.Append(event);
    backend_.down(absl::OkStatus());
    server_->Shutdown();
  });
  proto::Event event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.text(), "db is released");
  EXPECT_FALSE(reader->Read(&event));
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_code() << " " << status.error_message();
}

TEST_F(ApiServerTest, ShutdownEndsOpenCallsAndStreams) {
  grpc::ClientContext follow_context, join_context, wake_context;
  for (grpc::ClientContext* context : {&follow_context, &join_context, &wake_context})
    SetDeadline(*context);
  proto::EventsRequest follow;
  follow.set_follow(true);
  Append("db", "first");
  const auto events = stub_->Events(&follow_context, follow);
  proto::Event event;
  ASSERT_TRUE(events->Read(&event));
  const auto join = stub_->Join(&join_context, {});
  proto::JoinReply joined;
  ASSERT_TRUE(join->Read(&joined));
  grpc::Status woken;
  std::thread client([&] {
    proto::WakeRequest request;
    request.set_name("db");
    proto::HostInfo reply;
    woken = stub_->Wake(&wake_context, request, &reply);
  });
  ASSERT_TRUE(backend_.Await("wake db"));
  OnLoop([this] { server_->Shutdown(); });
  client.join();
  EXPECT_EQ(woken.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(events->Read(&event));
  EXPECT_EQ(events->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(join->Read(&joined));
  EXPECT_EQ(join->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(backend_.Await("leave run-1"));
  OnLoop([this] {
    EXPECT_EQ(backend_.log.subscribers(), 0u);
    backend_.waiting.at(0)(proto::HostInfo());  // too late, and harmless
  });
  EXPECT_NE(access(path_.c_str(), F_OK), 0) << "the socket is still there";
}

TEST_F(ApiServerTest, ShutdownDoesNotWaitForClientsInNoCall) {
  constexpr std::chrono::milliseconds kBound(500);  // of those that are cut off
  std::chrono::nanoseconds quickest = kDeadline;
  for (int round = 0; round < 3; ++round) {
    StartServer({.socket_path = path_});
    grpc::ClientContext context;
    SetDeadline(context);
    proto::Cluster cluster;
    ASSERT_TRUE(stub_->GetCluster(&context, {}, &cluster).ok());
    OnLoop([&] {
      const auto before = std::chrono::steady_clock::now();
      server_->Shutdown();
      quickest = std::min<std::chrono::nanoseconds>(
          quickest, std::chrono::steady_clock::now() - before);
    });
  }
  EXPECT_LT(quickest, kBound) << "each of them waited";
}

TEST_F(ApiServerTest, AStoppedLoopDoesNotKeepShutdownWaiting) {
  // The loop's thread ends while a call is on its way to it.
  StopLoop();
  grpc::Status status;
  std::thread client([&] {
    grpc::ClientContext context;
    SetDeadline(context);
    proto::Cluster cluster;
    status = stub_->GetCluster(&context, {}, &cluster);
  });
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (server_->open_calls() == 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  EXPECT_EQ(server_->open_calls(), 1u);
  server_.reset();
  client.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  // For the fixture's end.
  thread_ = std::thread([this] { loop_->Run(); });
}

TEST_F(ApiServerTest, TooManyCallsAreRefused) {
  StartServer({.socket_path = path_, .calls_max = 2});
  Append("db", "first");
  proto::EventsRequest follow;
  follow.set_follow(true);
  grpc::ClientContext contexts[3];
  std::vector<std::unique_ptr<grpc::ClientReader<proto::Event>>> readers;
  proto::Event event;
  for (grpc::ClientContext& context : contexts) {
    SetDeadline(context);
    readers.push_back(stub_->Events(&context, follow));
    EXPECT_EQ(readers.back()->Read(&event), readers.size() <= 2);
  }
  EXPECT_EQ(readers[2]->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  for (int i = 0; i < 2; ++i) {
    contexts[i].TryCancel();
    while (readers[i]->Read(&event)) {
    }
    (void)readers[i]->Finish();
  }
  AwaitCalls(0);
}

TEST_F(ApiServerTest, ASocketOfALiveServerIsNotTaken) {
  OnLoop([this] {
    const auto second = ApiServer::Start({.socket_path = path_}, *loop_, backend_);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  });
  grpc::ClientContext context;
  SetDeadline(context);
  proto::Cluster cluster;
  EXPECT_TRUE(stub_->GetCluster(&context, {}, &cluster).ok());
}

TEST_F(ApiServerTest, APathThatIsTooLongIsAnErrorThatSaysSo) {
  OnLoop([this] {
    const absl::Status status =
        ApiServer::Start({.socket_path = directory_ + "/" + std::string(100, 'x')}, *loop_,
                         backend_)
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), "107")) << status;
    EXPECT_EQ(ApiServer::Start({.socket_path = directory_ + "/none/api.sock"}, *loop_, backend_)
                  .status()
                  .code(),
              absl::StatusCode::kNotFound);
  });
}

}  // namespace
}  // namespace im::orchestrator
