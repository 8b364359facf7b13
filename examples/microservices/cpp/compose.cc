// compose: makes a post. Three services are asked at the same time, then it is
// stored, and pushed to the author's followers.

#include "Compose.h"

#include "HomeTimeline.h"
#include "PostStorage.h"
#include "SocialGraph.h"
#include "Text.h"
#include "UniqueId.h"
#include "User.h"
#include "remote.h"

namespace social {
namespace {

class Composer : public ComposeIf {
 public:
  int64_t Publish(const std::string& user, const std::string& text) override {
    thread_local Remote<UniqueIdClient> ids("unique-id");
    thread_local Remote<UserClient> users("user");
    thread_local Remote<TextClient> texts("text");
    thread_local Remote<SocialGraphClient> graph("social-graph");
    thread_local Remote<PostStorageClient> storage("post-storage");
    thread_local Remote<HomeTimelineClient> timelines("home-timeline");

    Post post;
    post.author = user;
    int64_t author = 0;
    const auto gather = [&] {
      ids.client().send_Next();
      users.client().send_Find(user);
      texts.client().send_Parse(text);
      post.id = ids.client().recv_Next();
      author = users.client().recv_Find();
      Parsed parsed;
      texts.client().recv_Parse(parsed);
      post.text = parsed.text;
      post.mentions = parsed.mentions;
    };
    Twice(gather, ids, users, texts);

    std::vector<int64_t> followers;
    const auto store = [&] {
      storage.client().send_Store(post);
      graph.client().send_Followers(author);
      storage.client().recv_Store();
      graph.client().recv_Followers(followers);
    };
    Twice(store, storage, graph);
    Twice([&] { timelines.client().Push(post.id, followers); }, timelines);
    return post.id;
  }
};

}  // namespace
}  // namespace social

int main() {
  social::Serve(std::make_shared<social::ComposeProcessor>(std::make_shared<social::Composer>()));
}
