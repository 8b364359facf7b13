import java.io.*;
import java.util.*;
import java.util.concurrent.locks.LockSupport;

/** As much of redis as is needed: SET, MGET. */
final class Redis {
  private final Line.PerThread lines = new Line.PerThread("redis", 6379);

  void set(String key, byte[] value) throws IOException {
    ask(command(Line.bytes("SET"), Line.bytes(key), value), (line, head) -> head);
  }

  /** In the order of the keys; null for what is not there. */
  List<byte[]> get(List<String> keys) throws IOException {
    List<byte[]> words = new ArrayList<>();
    words.add(Line.bytes("MGET"));
    for (String key : keys) words.add(Line.bytes(key));
    return ask(command(words.toArray(new byte[0][])), (line, head) -> {
      int count = Integer.parseInt(head.substring(1)); // *N
      List<byte[]> values = new ArrayList<>();
      for (int i = 0; i < count; ++i) {
        int length = Integer.parseInt(line.read().substring(1)); // $N, or $-1
        values.add(length < 0 ? null : line.read(length));
      }
      return values;
    });
  }

  private interface Answer<T> {
    T read(Line line, String head) throws IOException;
  }

  /** Asks until redis does not say that it has only just started, and reads its file. */
  private <T> T ask(ByteArrayOutputStream request, Answer<T> answer) throws IOException {
    return lines.use(line -> {
      while (true) {
        line.send(request);
        String head = line.read();
        if (!head.startsWith("-LOADING")) return answer.read(line, head);
        LockSupport.parkNanos(10_000_000);
      }
    });
  }

  private static ByteArrayOutputStream command(byte[]... words) throws IOException {
    ByteArrayOutputStream request = new ByteArrayOutputStream();
    request.write(Line.bytes("*" + words.length + "\r\n"));
    for (byte[] word : words) {
      request.write(Line.bytes("$" + word.length + "\r\n"));
      request.write(word);
      request.write(Line.bytes("\r\n"));
    }
    return request;
  }
}
