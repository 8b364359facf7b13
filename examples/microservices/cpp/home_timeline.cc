// home-timeline: for each user the newest posts of those whom they follow, as a
// sorted set of numbers in redis.

#include "HomeTimeline.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "PostStorage.h"
#include "remote.h"

namespace social {
namespace {

constexpr int kPostsMax = 100;  // of one user; older ones are forgotten

using Reply = std::unique_ptr<redisReply, void (*)(void*)>;

class Redis {
 public:
  // Answers to all commands, which are sent as one. Once more if the connection
  // is gone, and as long as redis has only just started and reads its file.
  std::vector<Reply> Do(const std::vector<std::string>& commands) {
    for (int broken = 0; broken < 2;) {
      if (!context_ || context_->err) context_.reset(redisConnect("redis", 6379));
      if (!context_ || context_->err) break;
      for (const std::string& command : commands)
        redisAppendCommand(context_.get(), command.c_str());
      std::vector<Reply> replies;
      void* reply = nullptr;
      while (replies.size() < commands.size() &&
             redisGetReply(context_.get(), &reply) == REDIS_OK) {
        replies.emplace_back(static_cast<redisReply*>(reply), freeReplyObject);
      }
      if (replies.size() < commands.size()) {
        ++broken;
      } else if (std::none_of(replies.begin(), replies.end(), IsLoading)) {
        return replies;
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
    throw std::runtime_error("redis does not answer");
  }

 private:
  static bool IsLoading(const Reply& reply) {
    return reply->type == REDIS_REPLY_ERROR && std::string(reply->str).rfind("LOADING", 0) == 0;
  }

  std::unique_ptr<redisContext, void (*)(redisContext*)> context_{nullptr, redisFree};
};

std::string Key(int64_t user) { return "timeline:" + std::to_string(user); }

class Timelines : public HomeTimelineIf {
 public:
  void Push(int64_t post, const std::vector<int64_t>& users) override {
    const std::string id = std::to_string(post);
    std::vector<std::string> commands;
    for (const int64_t user : users) {
      commands.push_back("ZADD " + Key(user) + " " + id + " " + id);
      commands.push_back("ZREMRANGEBYRANK " + Key(user) + " 0 -" + std::to_string(kPostsMax + 1));
    }
    redis().Do(commands);
  }

  void Latest(std::vector<Post>& posts, int64_t user, int32_t count) override {
    const auto replies = redis().Do({"ZREVRANGE " + Key(user) + " 0 " + std::to_string(count - 1)});
    std::vector<int64_t> ids;
    for (size_t i = 0; i < replies[0]->elements; ++i)
      ids.push_back(std::stoll(replies[0]->element[i]->str));
    if (ids.empty()) return;
    thread_local Remote<PostStorageClient> storage("post-storage");
    Twice([&] { storage.client().Read(posts, ids); }, storage);
  }

 private:
  static Redis& redis() {
    thread_local Redis redis;
    return redis;
  }
};

}  // namespace
}  // namespace social

int main() {
  const auto timelines = std::make_shared<social::Timelines>();
  social::Serve(std::make_shared<social::HomeTimelineProcessor>(timelines));
}
