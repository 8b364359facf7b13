// What the tests of this folder run under the filter where exact system calls
// matter: probe MODE, statically linked. Exit code 0: as it should be.
//
//   race       threads change addresses and descriptors under calls that were
//              told to the agent; then no socket of the process may be one that
//              /proc/net lists
//   native     makes such a socket, to show that `race` would find it; for use
//              without the filter
//   poll N     N times, a listener says that somebody has come only if somebody has
//   die N      N children die while their calls wait for the agent
//   wild N     N calls with arguments of all kinds, most of them wrong
//   close N    N times, a descriptor is closed while another thread's call waits
//   threads N  N threads, each with connections of its own, at once
//   echo       a static program's client and server

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr uint32_t kPeer = 0x0a000001;  // 10.0.0.1

#define EXPECT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "probe:%d: %s (errno %d)\n", __LINE__, #condition, errno); \
      return 1;                                                                      \
    }                                                                                \
  } while (false)

sockaddr_in Address(uint32_t address, uint16_t port) {
  sockaddr_in in = {};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
  in.sin_port = htons(port);
  return in;
}

const sockaddr* Ptr(const sockaddr_in& in) { return reinterpret_cast<const sockaddr*>(&in); }

// Inodes of this process's sockets that are the kernel's own TCP, UDP or raw ones.
std::set<unsigned long> NativeInetSockets() {
  std::set<unsigned long> listed, mine;
  for (const char* name : {"tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6",
                           "icmp", "icmp6", "packet"}) {
    FILE* file = std::fopen((std::string("/proc/net/") + name).c_str(), "r");
    if (file == nullptr) continue;
    char line[512];
    while (std::fgets(line, sizeof(line), file) != nullptr) {
      // The inode is the tenth word (of packet the ninth); all numbers are taken.
      for (char* word = std::strtok(line, " \n"); word != nullptr;
           word = std::strtok(nullptr, " \n"))
        if (const unsigned long n = std::strtoul(word, nullptr, 10); n > 2) listed.insert(n);
    }
    std::fclose(file);
  }
  DIR* fds = opendir("/proc/self/fd");
  while (const dirent* fd = readdir(fds)) {
    char target[64] = {};
    unsigned long inode;
    if (readlinkat(dirfd(fds), fd->d_name, target, sizeof(target) - 1) > 0 &&
        std::sscanf(target, "socket:[%lu]", &inode) == 1 && listed.contains(inode))
      mine.insert(inode);
  }
  closedir(fds);
  return mine;
}

int Native() {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  const sockaddr_in any = Address(INADDR_LOOPBACK, 0);
  EXPECT(fd >= 0 && bind(fd, Ptr(any), sizeof(any)) == 0);
  EXPECT(NativeInetSockets().size() == 1);
  return 0;
}

int Echo() {
  const sockaddr_in peer = Address(kPeer, 7);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT(connect(fd, Ptr(peer), sizeof(peer)) == 0);
  EXPECT(write(fd, "static", 6) == 6);
  char answer[16];
  EXPECT(read(fd, answer, sizeof(answer)) == 6 && std::memcmp(answer, "static", 6) == 0);
  close(fd);
  return 0;
}

int Race() {
  sockaddr_storage shared = {};
  std::atomic<bool> stop = false;
  constexpr int kFd = 100;
  // One thread rewrites what pointers point to, one what a descriptor is.
  std::thread pointers([&] {
    for (unsigned i = 0; !stop; ++i) {
      const sockaddr_in in = Address(i % 2 == 0 ? kPeer : INADDR_LOOPBACK, 7);
      std::memcpy(&shared, &in, sizeof(in));
      shared.ss_family = i % 3 == 0 ? AF_UNIX : i % 3 == 1 ? AF_INET : AF_UNSPEC;
    }
  });
  std::thread descriptors([&] {
    while (!stop) {
      for (const int family : {AF_INET, AF_UNIX, AF_NETLINK, AF_INET6}) {
        const int fd = socket(family, family == AF_NETLINK ? SOCK_RAW : SOCK_STREAM | SOCK_NONBLOCK,
                              0);
        if (fd < 0) continue;
        dup2(fd, kFd);
        close(fd);
      }
    }
  });
  int calls = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto* name = reinterpret_cast<const sockaddr*>(&shared);
    calls += connect(kFd, name, sizeof(sockaddr_in)) == 0;
    calls += bind(kFd, name, sizeof(sockaddr_in)) == 0;
    calls += listen(kFd, 1) == 0;
    char byte = 0;
    calls += sendto(kFd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL, name, sizeof(sockaddr_in)) == 1;
    // The upper half of a register is not looked at by the kernel.
    const long fd = syscall(SYS_socket, 0x100000000ul | AF_INET, SOCK_STREAM, 0);
    if (fd >= 0) dup2(static_cast<int>(fd), 101), close(static_cast<int>(fd));
  }
  EXPECT(NativeInetSockets().empty());
  stop = true;
  pointers.join();
  descriptors.join();
  EXPECT(calls > 0);
  EXPECT(NativeInetSockets().empty());
  EXPECT(syscall(SYS_pidfd_getfd, 0, 0, 0) == -1 && errno == EPERM);
  return 0;
}

// A child that is in the call of `kind` until it is killed.
[[noreturn]] void WaitInCall(int kind, int listening, int tell) {
  [[maybe_unused]] const ssize_t n = write(tell, "", 1);
  const sockaddr_in nobody = Address(kPeer + 76, 7);
  sockaddr_in from;
  socklen_t size = sizeof(from);
  char byte;
  switch (kind) {
    case 0:
      accept(listening, nullptr, nullptr);
      break;
    case 1:
      connect(socket(AF_INET, SOCK_STREAM, 0), Ptr(nobody), sizeof(nobody));
      break;
    case 2:
      recvfrom(socket(AF_INET, SOCK_DGRAM, 0), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from),
               &size);
      break;
    default:
      for (;;) close(socket(AF_INET, SOCK_STREAM, 0));
  }
  _exit(0);
}

// A listening socket, and where it is reached.
int Listen(sockaddr_in& name) {
  const int listening = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT(listen(listening, 5) == 0);
  socklen_t size = sizeof(name);
  EXPECT(getsockname(listening, reinterpret_cast<sockaddr*>(&name), &size) == 0);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return listening;
}

int Poll(int count) {
  sockaddr_in name;
  const int listening = Listen(name);
  for (int i = 0; i < count; ++i) {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT(connect(client, Ptr(name), sizeof(name)) == 0);
    pollfd look = {listening, POLLIN, 0};
    EXPECT(poll(&look, 1, -1) == 1);
    const int accepted = accept(listening, nullptr, nullptr);
    EXPECT(poll(&look, 1, 0) == 0);
    close(accepted);
    close(client);
  }
  return 0;
}

int Die(int count) {
  sockaddr_in name;
  const int listening = Listen(name);
  for (int i = 0; i < count; ++i) {
    int tell[2];
    EXPECT(pipe(tell) == 0);
    const pid_t child = fork();
    if (child == 0) WaitInCall(i % 4, listening, tell[1]);
    char byte;
    EXPECT(read(tell[0], &byte, 1) == 1);
    // Somewhere on its way into the call, or in it.
    for (volatile int spin = 0; spin < i % 50 * 2000;) spin = spin + 1;
    kill(child, SIGKILL);
    EXPECT(waitpid(child, nullptr, 0) == child);
    close(tell[0]);
    close(tell[1]);
  }
  // Nobody who died took a connection.
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT(connect(client, Ptr(name), sizeof(name)) == 0);
  EXPECT(accept(listening, nullptr, nullptr) >= 0);
  return 0;
}

// Calls of every number that is told, on descriptors of every kind, with
// pointers to nothing, to what may not be written, and to the end of a page.
int Wild(int count) {
  const long page = sysconf(_SC_PAGESIZE);
  auto* pages = static_cast<uint8_t*>(
      mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT(pages != MAP_FAILED && mprotect(pages + page, page, PROT_NONE) == 0);
  const std::string constant(64, 'c');
  std::minstd_rand random(1);
  const auto any = [&](auto... choices) {
    const long all[] = {static_cast<long>(choices)...};
    return all[random() % sizeof...(choices)];
  };
  for (int i = 0; i < count; ++i) {
    const int fds[] = {socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
                       socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0),
                       socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), dup(2)};
    for (int j = 0; j < 50; ++j) {
      for (long k = 0; k < page; ++k) pages[k] = static_cast<uint8_t>(random());
      if (random() % 2 == 0) pages[page - 16] = AF_INET, pages[page - 15] = 0;
      const auto value = [&] {
        const auto at = reinterpret_cast<long>(pages);
        return any(0, 1, -1, at, at + 8, at + page - 16, at + page - 8, at + page,
                   reinterpret_cast<long>(constant.data()), 4, 16, 64, 100'000, 1L << 40,
                   MSG_DONTWAIT, 0x7fffffff);
      };
      const long number =
          any(SYS_connect, SYS_bind, SYS_listen, SYS_accept4, SYS_getsockname, SYS_getpeername,
              SYS_setsockopt, SYS_getsockopt, SYS_shutdown, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg,
              SYS_recvmmsg, SYS_sendto, SYS_recvfrom);
      syscall(number, any(fds[0], fds[1], fds[2], fds[3], -1, 12345), value(), value(), value(),
              value(), value());
    }
    for (const int fd : fds) close(fd);
  }
  return Echo();
}

int CloseInMidCall(int count) {
  for (int i = 0; i < count; ++i) {
    sockaddr_in name;
    const int listening = Listen(name);
    const int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    const int dialling = socket(AF_INET, SOCK_STREAM, 0);
    const int fd = i % 3 == 0 ? listening : i % 3 == 1 ? datagrams : dialling;
    std::atomic<bool> begun = false;
    std::thread caller([&] {
      begun = true;
      const sockaddr_in nobody = Address(kPeer + 76, 7);
      sockaddr_in from;
      socklen_t size = sizeof(from);
      char byte;
      if (fd == listening) accept(fd, nullptr, nullptr);
      if (fd == dialling) connect(fd, Ptr(nobody), sizeof(nobody));
      if (fd == datagrams)
        recvfrom(fd, &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size);
    });
    while (!begun) std::this_thread::yield();
    for (volatile int spin = 0; spin < i % 50 * 2000;) spin = spin + 1;
    close(fd);
    caller.join();
    for (const int other : {listening, datagrams, dialling})
      if (other != fd) close(other);
  }
  return Echo();
}

int Threads(int count) {
  sockaddr_in name;
  const int listening = Listen(name);
  std::atomic<int> good = 0;
  constexpr int kConnections = 20;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (int i = 0; i < count * kConnections; ++i) {
      const int fd = accept(listening, nullptr, nullptr);
      char byte;
      if (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1) close(fd);
    }
  });
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kConnections; ++j) {
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        char byte;
        if (connect(fd, Ptr(name), sizeof(name)) == 0 && write(fd, "t", 1) == 1 &&
            read(fd, &byte, 1) == 1 && Echo() == 0)
          ++good;
        close(fd);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT(good == count * kConnections);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "race") return Race();
  if (mode == "native") return Native();
  if (mode == "poll" && argc > 2) return Poll(std::atoi(argv[2]));
  if (mode == "die" && argc > 2) return Die(std::atoi(argv[2]));
  if (mode == "wild" && argc > 2) return Wild(std::atoi(argv[2]));
  if (mode == "close" && argc > 2) return CloseInMidCall(std::atoi(argv[2]));
  if (mode == "threads" && argc > 2) return Threads(std::atoi(argv[2]));
  if (mode == "echo") return Echo();
  std::fprintf(stderr, "usage: probe race|native|poll N|die N|wild N|close N|threads N|echo\n");
  return 2;
}
