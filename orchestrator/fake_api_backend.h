// An ApiBackend for tests, which writes down what it is asked.

#ifndef IM_ORCHESTRATOR_FAKE_API_BACKEND_H_
#define IM_ORCHESTRATOR_FAKE_API_BACKEND_H_

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "orchestrator/api_backend.h"

namespace im::orchestrator {

// Lives on the loop's thread, except Await().
class FakeApiBackend final : public ApiBackend {
 public:
  proto::Cluster Cluster() override {
    proto::Cluster cluster;
    cluster.set_name("shop");
    return cluster;
  }
  void Refresh(const std::vector<std::string>& hosts, std::function<void()> done) override {
    Note("refresh " + (hosts.empty() ? "all" : hosts[0]));
    done();
  }
  absl::StatusOr<proto::ListHostsReply> Hosts(const proto::ListHostsRequest& request) override {
    proto::ListHostsReply reply;
    for (uint32_t i = request.from(); i < static_cast<uint32_t>(many.hosts_size()); ++i) {
      if (request.limit() > 0 && i - request.from() == request.limit()) {
        reply.set_next(i);
        break;
      }
      *reply.add_hosts() = many.hosts(static_cast<int>(i));
    }
    if (many.hosts_size() > 0) return reply;
    for (const std::string& name : request.names())
      if (name != "db") return absl::NotFoundError("there is no host " + name);
    reply.add_hosts()->set_name("db");
    return reply;
  }
  absl::StatusOr<proto::WhyReply> Why(const std::string& host) override {
    proto::WhyReply reply;
    reply.mutable_host()->set_name(host);
    reply.add_keeps_up("cpu 12%");
    return reply;
  }
  EventLog& events() override { return log; }
  void Wake(const proto::WakeRequest& request, HostDone done) override {
    Note("wake " + request.name());
    waiting.push_back(std::move(done));
  }
  void Suspend(const std::string& host, HostDone done) override {
    done(absl::FailedPreconditionError(host + " does not run"));
  }
  void Release(const std::string& host, HostDone done) override {
    proto::HostInfo info;
    info.set_name(host);
    info.set_state("imaginary");
    done(info);
  }
  absl::StatusOr<proto::JoinReply> Join(const proto::JoinRequest& request, Done on_end) override {
    if (request.name() == "db") return absl::AlreadyExistsError("there is a host db already");
    proto::JoinReply reply;
    reply.set_name(request.name().empty() ? "run-1" : request.name());
    guests[reply.name()] = std::move(on_end);
    Note("join " + reply.name());
    return reply;
  }
  void Leave(const std::string& host) override {
    guests.erase(host);
    Note("leave " + host);
  }
  absl::StatusOr<proto::DashboardReply> OpenDashboard(
      const proto::DashboardRequest& request) override {
    proto::DashboardReply reply;
    reply.set_endpoint(request.listen().empty() ? "127.0.0.1:9601" : request.listen());
    return reply;
  }
  void Down(bool force, Done done) override {
    Note(force ? "down by force" : "down");
    down = std::move(done);
  }

  void Note(const std::string& what) {
    std::lock_guard<std::mutex> lock(mutex);
    notes.insert(what);
    changed.notify_all();
  }
  // Any thread: until the backend was told.
  bool Await(const std::string& what) {
    std::unique_lock<std::mutex> lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), [&] { return notes.contains(what); });
  }

  EventLog log;
  proto::ListHostsReply many;  // if not empty, what Hosts answers
  std::vector<HostDone> waiting;
  std::map<std::string, Done> guests;
  Done down;
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> notes;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_FAKE_API_BACKEND_H_
