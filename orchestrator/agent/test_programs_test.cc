// The programs that the tests run as hosts: this test program again, with
// IM_TEST_PROGRAM set (in a file of this name so that it is built into the
// tests alone).

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "orchestrator/agent/agent_fixture.h"
#include "orchestrator/agent/timer_programs.h"

namespace im::agent {
namespace {

int Listen(int type) {
  const int fd = socket(AF_INET, type, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(kPort)};
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) _exit(90);
  if (type == SOCK_STREAM && listen(fd, 64) != 0) _exit(91);
  return fd;
}

[[noreturn]] void EchoTcp() {
  const int listener = Listen(SOCK_STREAM);
  std::vector<pollfd> fds = {{listener, POLLIN, 0}};
  std::array<char, 4096> buffer;
  while (true) {
    poll(fds.data(), fds.size(), -1);
    if (fds[0].revents != 0) fds.push_back({accept(listener, nullptr, nullptr), POLLIN, 0});
    for (size_t i = 1; i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      const ssize_t n = read(fds[i].fd, buffer.data(), buffer.size());
      if (n > 0 && write(fds[i].fd, buffer.data(), n) == n) continue;
      close(fds[i].fd);
      fds.erase(fds.begin() + i);
      break;
    }
  }
}

// Sleeps in accept and read, without poll.
[[noreturn]] void EchoOneByOne() {
  const int listener = Listen(SOCK_STREAM);
  std::array<char, 4096> buffer;
  while (true) {
    const int fd = accept(listener, nullptr, nullptr);
    for (ssize_t n; (n = read(fd, buffer.data(), buffer.size())) > 0;)
      if (write(fd, buffer.data(), n) != n) break;
    close(fd);
  }
}

[[noreturn]] void EchoUdp() {
  const int fd = Listen(SOCK_DGRAM);
  std::array<char, 2048> buffer;
  while (true) {
    sockaddr_in from = {};
    socklen_t size = sizeof(from);
    const ssize_t n = recvfrom(fd, buffer.data(), buffer.size(), 0,
                               reinterpret_cast<sockaddr*>(&from), &size);
    sendto(fd, buffer.data(), n, 0, reinterpret_cast<sockaddr*>(&from), size);
  }
}

void Resolve(const char* name) {
  addrinfo* found = nullptr;
  const addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  const int error = getaddrinfo(name, nullptr, &hints, &found);
  char text[64] = "";
  if (error == 0)
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr, text, 64);
  std::printf("%s=%s\n", name, error == 0 ? text : gai_strerror(error));
}

// Exits with 0 if the echo works.
[[noreturn]] void Dial(const char* host) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(kPort)};
  inet_pton(AF_INET, host, &address.sin_addr);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) _exit(80);
  char byte = 'x';
  if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || byte != 'x') _exit(81);
  _exit(0);
}

void WaitFor(const char* ms) { poll(nullptr, 0, std::atoi(ms)); }

// Before main() of the tests. Arguments are the program's.
[[gnu::constructor]] void RunTestProgram(int argc, char** argv, char**) {
  const char* name = std::getenv("IM_TEST_PROGRAM");
  if (name == nullptr) return;
  const std::string program = name;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc > 1) WaitFor(argv[1]);
  if (program == "tcp") EchoTcp();
  if (program == "udp") EchoUdp();
  if (program == "names") {
    char host[128] = "";
    gethostname(host, sizeof(host));
    std::printf("hostname=%s\n", host);
    for (const char* other : {"host3", "other", "OTHER.test.im", "driver", "nobody", "localhost"})
      Resolve(other);
    std::printf("pid=%d\n", getpid());
  }
  if (program == "exit") _exit(42);
  if (program == "capabilities") {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("Uid:") || line.starts_with("CapEff:")) std::printf("%s\n", line.c_str());
    _exit(0);
  }
  if (program == "accept") EchoOneByOne();
  if (program == "family") {  // who has lost their parents
    if (fork() == 0) {
      setsid();
      if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        std::printf("%d\n", getpid());
        while (true) pause();
      }
      _exit(0);
    }
    while (true) pause();
  }
  if (program == "dial" && argc > 2) Dial(argv[2]);
  if (program == "polite") {  // says goodbye
    struct sigaction action = {};
    action.sa_handler = [](int) {
      const char text[] = "goodbye\n";
      _exit(write(1, text, sizeof(text) - 1) > 0 ? 3 : 4);
    };
    sigaction(SIGTERM, &action, nullptr);
    std::printf("ready\n");
    while (true) pause();
  }
  if (program == "stubborn") {
    signal(SIGTERM, SIG_IGN);
    std::printf("ready\n");
    while (true) pause();
  }
  if (program == "timer" && argc > 4)
    RunTimerProgram(argv[2], std::atoi(argv[3]), std::string(argv[4]) == "1");
  if (program == "hoard" && argc > 2) {  // has all of a file in its memory
    const int fd = open(argv[2], O_RDONLY);
    struct stat info = {};
    if (fstat(fd, &info) != 0) _exit(92);
    const size_t size = static_cast<size_t>(info.st_size);
    const char* bytes =
        static_cast<const char*>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0));
    if (bytes == MAP_FAILED) _exit(93);
    unsigned sum = 0;
    for (size_t i = 0; i < size; i += 4096) sum += static_cast<unsigned char>(bytes[i]);
    std::printf("ready %u\n", sum);
    while (true) pause();
  }
  if (program == "busy") {
    std::printf("ready\n");
    while (true) getppid();
  }
  _exit(99);
}

}  // namespace
}  // namespace im::agent
