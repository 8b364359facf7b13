import java.io.*;
import java.util.*;

/** As much of memcached as is needed: get of several keys, set. */
final class Memcached {
  private final Line.PerThread lines = new Line.PerThread("memcached", 11211);

  /** The ones that are there. */
  Map<String, byte[]> get(Collection<String> keys) throws IOException {
    ByteArrayOutputStream request = new ByteArrayOutputStream();
    request.write(Line.bytes("get " + String.join(" ", keys) + "\r\n"));
    return lines.use(line -> {
      line.send(request);
      Map<String, byte[]> found = new HashMap<>();
      for (String head = line.read(); !head.equals("END"); head = line.read()) {
        String[] words = head.split(" "); // VALUE key flags bytes
        found.put(words[1], line.read(Integer.parseInt(words[3])));
      }
      return found;
    });
  }

  void set(String key, byte[] value) throws IOException {
    ByteArrayOutputStream request = new ByteArrayOutputStream();
    request.write(Line.bytes("set " + key + " 0 0 " + value.length + "\r\n"));
    request.write(value);
    request.write(Line.bytes("\r\n"));
    lines.use(line -> {
      line.send(request);
      return line.read();
    });
  }
}
