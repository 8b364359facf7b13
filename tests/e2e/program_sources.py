"""What programs_test.py builds and runs: small servers and clients in several languages."""

NGINX = """\
daemon off; master_process on; worker_processes 2; pid {dir}/nginx.pid; error_log stderr;
events { worker_connections 256; }
http {
  access_log off; sendfile on;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server { listen 80; root {dir}; }
  server { listen 81 http2; root {dir}; }
}
"""

# Says what memcached answers to a store and a fetch of 100,000 bytes.
MEMCACHED_CLIENT = """\
import socket
s = socket.create_connection(("server", 11211))
f = s.makefile("rb")
value = b"v" * 100000
s.sendall(b"set k 0 0 %d\\r\\n%s\\r\\n" % (len(value), value))
print(f.readline().decode().strip())
s.sendall(b"get k\\r\\n")
print(f.readline().decode().strip(), f.read(len(value)) == value)
"""

# Answers with what it was sent, and fetches.
NODE_SERVER = """\
const http = require("http");
http.createServer((request, answer) => request.pipe(answer)).listen(80);
"""
NODE_CLIENT = """\
const http = require("http"), sent = "n".repeat(300000);
const ask = http.request({host: "server", method: "POST"}, answer => {
  let got = "";
  answer.on("data", piece => got += piece);
  answer.on("end", () => console.log(answer.statusCode, got === sent));
});
ask.end(sent);
"""

# An echo of HTTP, and forty clients of it at once, each with two requests on one connection.
GO = """\
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func main() {
	if os.Args[1] == "serve" {
		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		})
		panic(http.ListenAndServe(":80", nil))
	}
	sent := bytes.Repeat([]byte("go"), 100000)
	var all sync.WaitGroup
	var lock sync.Mutex
	good := 0
	for i := 0; i < 40; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			client := http.Client{Transport: &http.Transport{}}
			for j := 0; j < 2; j++ {
				answer, err := client.Post("http://server/", "text/plain", bytes.NewReader(sent))
				if err != nil {
					fmt.Println(err)
					return
				}
				got, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err == nil && bytes.Equal(got, sent) {
					lock.Lock()
					good++
					lock.Unlock()
				}
			}
		}()
	}
	all.Wait()
	fmt.Println(good)
}
"""

JAVA = """\
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;

public class Http {
  public static void main(String[] arguments) throws Exception {
    if (arguments[0].equals("serve")) {
      HttpServer server = HttpServer.create(new InetSocketAddress(80), 0);
      server.setExecutor(Executors.newFixedThreadPool(4));
      server.createContext("/", exchange -> {
        byte[] body = exchange.getRequestBody().readAllBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
      });
      server.start();
      return;
    }
    String sent = "java".repeat(50000);
    HttpClient client = HttpClient.newHttpClient();
    HttpRequest ask = HttpRequest.newBuilder(URI.create("http://server/"))
        .version(HttpClient.Version.HTTP_1_1)
        .POST(HttpRequest.BodyPublishers.ofString(sent)).build();
    var answers = new ArrayList<CompletableFuture<HttpResponse<String>>>();
    for (int i = 0; i < 20; ++i)
      answers.add(client.sendAsync(ask, HttpResponse.BodyHandlers.ofString()));
    int good = 0;
    for (var answer : answers) if (answer.join().body().equals(sent)) ++good;
    System.out.println(good);
    System.exit(0);
  }
}
"""

# Answers each line; then `count` clients at once, which stay until their input ends.
ASYNCIO_SERVER = """\
import asyncio, resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 7000, backlog=4096)
    await server.serve_forever()
asyncio.run(main())
"""
ASYNCIO_CLIENT = """\
import asyncio, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
count = int(sys.argv[1])
async def ask(stream, line):
    reader, writer = stream
    writer.write(line)
    return await reader.readline() == line
async def main():
    streams = []
    while len(streams) < count:
        streams += await asyncio.gather(*(asyncio.open_connection("server", 7000)
                                          for _ in range(min(250, count - len(streams)))))
    for round in range(2):
        answers = await asyncio.gather(*(ask(s, b"%d %d\\n" % (i, round))
                                         for i, s in enumerate(streams)))
        print(sum(answers), flush=True)
        sys.stdin.readline()
asyncio.run(main())
"""

SSHD = """\
Port 2222
HostKey {dir}/host_key
AuthorizedKeysFile {dir}/user_key.pub
PidFile none
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
"""

# A ZooKeeper server of three; its number is the argument.
ZOOKEEPER = """\
set -eu
data={dir}/$1
mkdir -p "$data"
echo "$1" >"$data/myid"
printf '%s\\n' tickTime=1000 initLimit=30 syncLimit=15 clientPort=2181 "dataDir=$data" \\
  admin.enableServer=false server.1=zk-1:2888:3888 server.2=zk-2:2888:3888 \\
  server.3=zk-3:2888:3888 >"$data/zoo.cfg"
exec java -Xms32m -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \\
  -cp /etc/zookeeper/conf:/usr/share/java/zookeeper.jar \\
  org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zoo.cfg"
"""
