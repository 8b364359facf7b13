import java.io.IOException;
import java.util.*;
import org.apache.thrift.*;
import org.apache.thrift.protocol.TBinaryProtocol;
import social.*;

/** post-storage: posts in redis, and those that were read lately in memcached, too. */
final class PostStorageService implements PostStorage.Iface {
  private final Redis redis = new Redis();
  private final Memcached memcached = new Memcached();

  private static String key(long id) {
    return "post:" + id;
  }

  @Override
  public void Store(Post post) throws TException {
    try {
      redis.set(key(post.id), new TSerializer(new TBinaryProtocol.Factory()).serialize(post));
    } catch (IOException e) {
      throw new TException(e);
    }
  }

  @Override
  public List<Post> Read(List<Long> ids) throws TException {
    List<String> keys = new ArrayList<>();
    for (long id : ids) keys.add(key(id));
    try {
      Map<String, byte[]> found = memcached.get(keys);
      List<String> missing = new ArrayList<>(keys);
      missing.removeAll(found.keySet());
      if (!missing.isEmpty()) {
        List<byte[]> stored = redis.get(missing);
        for (int i = 0; i < missing.size(); ++i) {
          if (stored.get(i) == null) continue; // a post whose storing failed
          found.put(missing.get(i), stored.get(i));
          memcached.set(missing.get(i), stored.get(i));
        }
      }
      List<Post> posts = new ArrayList<>();
      TDeserializer reader = new TDeserializer(new TBinaryProtocol.Factory());
      for (String key : keys) {
        if (!found.containsKey(key)) continue;
        Post post = new Post();
        reader.deserialize(post, found.get(key));
        posts.add(post);
      }
      return posts;
    } catch (IOException e) {
      throw new TException(e);
    }
  }

  public static void main(String[] args) throws TException {
    Service.serve(new PostStorage.Processor<>(new PostStorageService()));
  }
}
