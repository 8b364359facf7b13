// What the services say to each other: framed transport, binary protocol, port 9090.

namespace * social

struct Post {
  1: i64 id
  2: string author
  3: string text
  4: list<string> mentions
}

struct Parsed {
  1: string text            // with its URLs shortened
  2: list<string> mentions  // names after an @
}

service UniqueId { i64 Next() }

service User { i64 Find(1: string name) }

service UrlShorten { list<string> Shorten(1: list<string> urls) }

service Text { Parsed Parse(1: string text) }

service SocialGraph {
  void Follow(1: i64 user, 2: i64 follower)
  list<i64> Followers(1: i64 user)
}

service PostStorage {
  void Store(1: Post post)
  list<Post> Read(1: list<i64> ids)
}

service HomeTimeline {
  void Push(1: i64 post, 2: list<i64> users)
  list<Post> Latest(1: i64 user, 2: i32 count)
}

service Compose { i64 Publish(1: string user, 2: string text) }
