import java.io.IOException;
import java.util.*;
import org.apache.thrift.*;

/** url-shorten: short names for URLs, which memcached keeps as long as it likes. */
final class UrlShorten implements social.UrlShorten.Iface {
  private final Memcached memcached = new Memcached();

  @Override
  public List<String> Shorten(List<String> urls) throws TException {
    List<String> all = new ArrayList<>();
    try {
      for (String url : urls) {
        String name = Integer.toUnsignedString(url.hashCode(), 36);
        memcached.set("url:" + name, Line.bytes(url));
        all.add("http://sho.rt/" + name);
      }
    } catch (IOException e) {
      throw new TException(e);
    }
    return all;
  }

  public static void main(String[] args) throws TException {
    Service.serve(new social.UrlShorten.Processor<>(new UrlShorten()));
  }
}
