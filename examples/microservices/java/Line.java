import java.io.*;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** A connection to a store that speaks in lines and counted bytes: redis, memcached. */
final class Line implements Closeable {
  interface Use<T> {
    T with(Line line) throws IOException;
  }

  /** One for each thread, opened when first used, and anew if its host was released meanwhile. */
  static final class PerThread {
    private final ThreadLocal<Line> lines = new ThreadLocal<>();
    private final String host;
    private final int port;

    PerThread(String host, int port) {
      this.host = host;
      this.port = port;
    }

    <T> T use(Use<T> use) throws IOException {
      Line line = lines.get();
      if (line != null) {
        try {
          return use.with(line);
        } catch (IOException gone) {
          line.close();
        }
      }
      lines.set(line = new Line(host, port));
      return use.with(line);
    }
  }

  private final Socket socket;
  private final DataInputStream in;
  private final OutputStream out;

  private Line(String host, int port) throws IOException {
    socket = new Socket(host, port);
    socket.setTcpNoDelay(true);
    in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
    out = socket.getOutputStream();
  }

  void send(ByteArrayOutputStream bytes) throws IOException {
    bytes.writeTo(out);
  }

  /** Up to the next "\r\n", without it. */
  String read() throws IOException {
    StringBuilder line = new StringBuilder();
    for (byte c = in.readByte(); c != '\r'; c = in.readByte()) line.append((char) c);
    in.readByte();
    return line.toString();
  }

  /** So many bytes, and the "\r\n" after them. */
  byte[] read(int count) throws IOException {
    byte[] bytes = new byte[count];
    in.readFully(bytes);
    in.skipBytes(2);
    return bytes;
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
