// im-peer: the trivial server, and a client that measures, for tests and bench.
//
//   im-peer serve [--echo PORT] [--sink PORT] [--udp PORT] [--listen-after-ms N]
//                 [--exit-after-ms N]
//     echo: answers every byte; sink: reads and drops; udp: answers datagrams.
//   im-peer drive
//     Reads one command a line, answers with one JSON object a line:
//       connect ID HOST PORT   connect_us, retransmits (of the SYN)
//       ask ID WORDS…          sends them as a line; us, answer: the line that comes back
//       ping ID BYTES          us from the first byte sent to the last one back
//       stream ID MILLISECONDS bytes and us; sends as fast as it can
//       recv ID                waits for EOF or an error
//       close ID
//       churn COUNT HOST PORT  that many connections, 16 at a time, each closed by
//                              both ends once it is up; us
//       udp HOST PORT TIMEOUT_MS   us to the answer
//       storm NAME COUNT PORT      connects to NAME-1 … NAME-COUNT at once, a byte
//         to each and back: first_us, last_us, failed
//       trips ID BYTES COUNT INTERVAL_US, udp-trips HOST PORT COUNT,
//       crr HOST PORT COUNT        trips_us: each of so many round trips, in their
//         order; of connect, a byte there and back, close. With an
//         interval one trip is due each, and takes from when it was due: what
//         waits for a slow one is as late as its user would see it.
//       resolve HOST           address, us
//       sleep MILLISECONDS
//
//   im-peer ticks sleep|poll|select PERIOD_MS COUNT
//     Waits so often for that long, by nanosleep, poll or select; each time tells
//     by how much it was served late, one JSON object a line: late_us. Then waits
//     for ever.
//
// C without libraries, so that its own start is a fraction of a millisecond.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "im_peer.h"

enum { kConnectionsMax = 4096 };

char buffer[kBufferBytes];

long long NowUs(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void SleepMs(long ms) {
  struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
  while (nanosleep(&t, &t) != 0 && errno == EINTR) {
  }
}

void Die(const char* what) {
  fprintf(stderr, "im-peer: %s: %s\n", what, strerror(errno));
  exit(1);
}

// ---- server ----------------------------------------------------------------

enum Kind { kListenEcho, kListenSink, kUdp, kEcho, kSink };

struct Entry {
  int fd;
  enum Kind kind;
};

static void Watch(int epoll, int fd, enum Kind kind) {
  struct Entry* entry = malloc(sizeof *entry);
  entry->fd = fd;
  entry->kind = kind;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = entry};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) Die("epoll_ctl");
}

static void Open(int epoll, int port, enum Kind kind) {
  int type = kind == kUdp ? SOCK_DGRAM : SOCK_STREAM;
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (bind(fd, (struct sockaddr*)&address, sizeof address) != 0) Die("bind");
  if (kind != kUdp && listen(fd, 1024) != 0) Die("listen");
  Watch(epoll, fd, kind);
}

int SendAll(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    bytes += n;
    size -= (size_t)n;
  }
  return 0;
}

static void HandleReady(int epoll, struct Entry* entry) {
  int one = 1;
  switch (entry->kind) {
    case kListenEcho:
    case kListenSink: {
      int fd = accept4(entry->fd, NULL, NULL, SOCK_CLOEXEC);
      if (fd < 0) return;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      Watch(epoll, fd, entry->kind == kListenEcho ? kEcho : kSink);
      return;
    }
    case kUdp: {
      struct sockaddr_storage from;
      socklen_t length = sizeof from;
      ssize_t n = recvfrom(entry->fd, buffer, sizeof buffer, 0, (struct sockaddr*)&from, &length);
      if (n >= 0) sendto(entry->fd, buffer, (size_t)n, 0, (struct sockaddr*)&from, length);
      return;
    }
    case kEcho:
    case kSink: {
      ssize_t n = recv(entry->fd, buffer, sizeof buffer, 0);
      if (n <= 0 || (entry->kind == kEcho && SendAll(entry->fd, buffer, (size_t)n) != 0)) {
        close(entry->fd);
        free(entry);
      }
      return;
    }
  }
}

static int Serve(int argc, char** argv) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  long exit_after_ms = -1;
  for (int i = 0; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--listen-after-ms") == 0) SleepMs(atol(argv[i + 1]));
    if (strcmp(argv[i], "--exit-after-ms") == 0) exit_after_ms = atol(argv[i + 1]);
  }
  for (int i = 0; i + 1 < argc; i += 2) {
    int port = atoi(argv[i + 1]);
    if (strcmp(argv[i], "--echo") == 0) Open(epoll, port, kListenEcho);
    if (strcmp(argv[i], "--sink") == 0) Open(epoll, port, kListenSink);
    if (strcmp(argv[i], "--udp") == 0) Open(epoll, port, kUdp);
  }
  long long end_us = exit_after_ms < 0 ? -1 : NowUs() + exit_after_ms * 1000LL;
  struct epoll_event events[64];
  for (;;) {
    int wait_ms = -1;
    if (end_us >= 0) {
      long long left_us = end_us - NowUs();
      if (left_us <= 0) return 0;
      wait_ms = (int)(left_us / 1000) + 1;
    }
    int n = epoll_wait(epoll, events, 64, wait_ms);
    for (int i = 0; i < n; ++i) HandleReady(epoll, events[i].data.ptr);
  }
}

// ---- client ----------------------------------------------------------------

static int connections[kConnectionsMax];

void Fail(int error, long long since_us) {
  printf("{\"ok\": false, \"error\": \"%s\", \"us\": %lld}\n", strerrorname_np(error),
         NowUs() - since_us);
}

int Resolve(const char* host, int port, int type, struct sockaddr_in* out) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = type};
  struct addrinfo* found = NULL;
  int error = getaddrinfo(host, NULL, &hints, &found);
  if (error != 0) return error;
  memcpy(out, found->ai_addr, sizeof *out);
  out->sin_port = htons((uint16_t)port);
  freeaddrinfo(found);
  return 0;
}

int* Slot(int id) {
  if (id < 0 || id >= kConnectionsMax) {
    fprintf(stderr, "im-peer: connection id out of range: %d\n", id);
    exit(2);
  }
  return &connections[id];
}

static void Connect(int id, const char* host, int port) {
  struct sockaddr_in address;
  int failure = Resolve(host, port, SOCK_STREAM, &address);
  long long start_us = NowUs();
  if (failure != 0) {
    printf("{\"ok\": false, \"error\": \"%s\", \"us\": 0}\n", gai_strerror(failure));
    return;
  }
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) {
    Fail(errno, start_us);
    close(fd);
    return;
  }
  long long connect_us = NowUs() - start_us;
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct tcp_info info;
  memset(&info, 0, sizeof info);
  socklen_t length = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  if (*Slot(id) > 0) close(*Slot(id));
  *Slot(id) = fd;
  printf("{\"ok\": true, \"us\": %lld, \"retransmits\": %u}\n", connect_us, info.tcpi_total_retrans);
}

// For servers of lines, such as redis. What JSON would need to escape is told as '?'.
static void Ask(int id, const char* words) {
  int fd = *Slot(id);
  long long start_us = NowUs();
  size_t length = strcspn(words, "\n"), received = 0;
  if (length + 2 > sizeof buffer) return Fail(ERANGE, start_us);
  memcpy(buffer, words, length);
  memcpy(buffer + length, "\r\n", 2);
  if (SendAll(fd, buffer, length + 2) != 0) return Fail(errno, start_us);
  while (memchr(buffer, '\n', received) == NULL) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 120000) <= 0) return Fail(ETIMEDOUT, start_us);
    ssize_t n = recv(fd, buffer + received, sizeof buffer - received, 0);
    if (n == 0) return Fail(received < sizeof buffer ? EPIPE : EMSGSIZE, start_us);
    if (n < 0) return Fail(errno, start_us);
    received += (size_t)n;
  }
  long long us = NowUs() - start_us;
  printf("{\"ok\": true, \"us\": %lld, \"answer\": \"", us);
  for (const char* c = buffer; *c != '\n' && *c != '\r'; ++c) {
    putchar(*c < ' ' || *c > '~' || *c == '"' || *c == '\\' ? '?' : *c);
  }
  printf("\"}\n");
}

static void Ping(int id, long size) {
  int fd = *Slot(id);
  long long start_us = NowUs();
  long sent = 0, received = 0;
  while (received < size) {
    struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (sent < size ? POLLOUT : 0))};
    if (poll(&p, 1, 120000) <= 0) return Fail(ETIMEDOUT, start_us);
    if (sent < size && (p.revents & POLLOUT)) {
      size_t chunk = (size_t)(size - sent) < sizeof buffer ? (size_t)(size - sent) : sizeof buffer;
      for (size_t i = 0; i < chunk; ++i) buffer[i] = (char)((sent + (long)i) * 31 >> 3);
      ssize_t n = send(fd, buffer, chunk, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) return Fail(errno, start_us);
      if (n > 0) sent += n;
    }
    if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
      ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n == 0) return Fail(EPIPE, start_us);
      if (n < 0 && errno != EAGAIN) return Fail(errno, start_us);
      for (ssize_t i = 0; i < n; ++i) {
        if (buffer[i] != (char)((received + i) * 31 >> 3)) return Fail(EBADMSG, start_us);
      }
      if (n > 0) received += n;
    }
  }
  printf("{\"ok\": true, \"us\": %lld}\n", NowUs() - start_us);
}

static void Stream(int id, long ms) {
  int fd = *Slot(id);
  long long start_us = NowUs(), bytes = 0;
  while (NowUs() - start_us < ms * 1000LL) {
    ssize_t n = send(fd, buffer, sizeof buffer, MSG_NOSIGNAL);
    if (n < 0) return Fail(errno, start_us);
    bytes += n;
  }
  struct tcp_info info;
  memset(&info, 0, sizeof info);
  socklen_t length = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  printf("{\"ok\": true, \"us\": %lld, \"bytes\": %lld, \"retransmits\": %u}\n", NowUs() - start_us,
         bytes, info.tcpi_total_retrans);
}

static void Recv(int id) {
  long long start_us = NowUs(), bytes = 0;
  for (;;) {
    ssize_t n = recv(*Slot(id), buffer, sizeof buffer, 0);
    if (n < 0) return Fail(errno, start_us);
    if (n == 0) break;
    bytes += n;
  }
  printf("{\"ok\": true, \"us\": %lld, \"bytes\": %lld}\n", NowUs() - start_us, bytes);
}

static void Churn(long count, const char* host, int port) {
  enum { kAtOnce = 16 };
  struct sockaddr_in address;
  struct pollfd under_way[kAtOnce];
  long begun = 0, ended = 0;
  const long long start_us = NowUs();
  if (Resolve(host, port, SOCK_STREAM, &address) != 0) return Fail(EINVAL, start_us);
  for (int i = 0; i < kAtOnce; ++i) under_way[i].fd = -1;
  while (ended < count) {
    for (int i = 0; i < kAtOnce && begun < count; ++i) {
      if (under_way[i].fd >= 0) continue;
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (fd < 0) Die("socket");
      if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0 && errno != EINPROGRESS)
        return Fail(errno, start_us);
      under_way[i] = (struct pollfd){.fd = fd, .events = POLLOUT};
      ++begun;
    }
    if (poll(under_way, kAtOnce, 30000) <= 0) return Fail(ETIMEDOUT, start_us);
    for (int i = 0; i < kAtOnce; ++i) {
      const int fd = under_way[i].fd;
      if (fd < 0 || under_way[i].revents == 0) continue;
      if (under_way[i].events == POLLOUT) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) return Fail(error, start_us);
        shutdown(fd, SHUT_WR);
        under_way[i].events = POLLIN;
      } else {
        if (recv(fd, buffer, sizeof buffer, 0) != 0) return Fail(errno, start_us);
        close(fd);
        under_way[i].fd = -1;
        ++ended;
      }
    }
  }
  printf("{\"ok\": true, \"us\": %lld}\n", NowUs() - start_us);
}

static void Udp(const char* host, int port, int timeout_ms) {
  struct sockaddr_in address;
  int failure = Resolve(host, port, SOCK_DGRAM, &address);
  long long start_us = NowUs();
  if (failure != 0) {
    printf("{\"ok\": false, \"error\": \"%s\", \"us\": 0}\n", gai_strerror(failure));
    return;
  }
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  struct pollfd p = {.fd = fd, .events = POLLIN};
  if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0 || send(fd, "hello", 5, 0) != 5) {
    Fail(errno, start_us);
  } else if (poll(&p, 1, timeout_ms) <= 0) {
    Fail(ETIMEDOUT, start_us);
  } else if (recv(fd, buffer, sizeof buffer, 0) != 5) {
    Fail(errno, start_us);
  } else {
    printf("{\"ok\": true, \"us\": %lld}\n", NowUs() - start_us);
  }
  close(fd);
}

static void Lookup(const char* host) {
  struct sockaddr_in address;
  long long start_us = NowUs();
  int failure = Resolve(host, 0, SOCK_STREAM, &address);
  if (failure != 0) {
    printf("{\"ok\": false, \"error\": \"%s\", \"us\": %lld}\n", gai_strerror(failure),
           NowUs() - start_us);
    return;
  }
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
  printf("{\"ok\": true, \"address\": \"%s\", \"us\": %lld}\n", text, NowUs() - start_us);
}

static int Drive(void) {
  char line[512], word[32], host[256];
  int id, port, at;
  long number, count, interval;
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "connect %d %255s %d", &id, host, &port) == 3) {
      Connect(id, host, port);
    } else if (sscanf(line, "ping %d %ld", &id, &number) == 2) {
      Ping(id, number);
    } else if (sscanf(line, "ask %d %n", &id, &at) == 1) {
      Ask(id, line + at);
    } else if (sscanf(line, "trips %d %ld %ld %ld", &id, &number, &count, &interval) == 4) {
      Trips(id, number, count, interval);
    } else if (sscanf(line, "udp-trips %255s %d %ld", host, &port, &count) == 3) {
      UdpTrips(host, port, count);
    } else if (sscanf(line, "crr %255s %d %ld", host, &port, &count) == 3) {
      ConnectRequestClose(host, port, count);
    } else if (sscanf(line, "storm %255s %ld %d", host, &count, &port) == 3) {
      Storm(host, count, port);
    } else if (sscanf(line, "stream %d %ld", &id, &number) == 2) {
      Stream(id, number);
    } else if (sscanf(line, "recv %d", &id) == 1) {
      Recv(id);
    } else if (sscanf(line, "close %d", &id) == 1) {
      close(*Slot(id));
      *Slot(id) = 0;
      printf("{\"ok\": true}\n");
    } else if (sscanf(line, "churn %ld %255s %d", &number, host, &port) == 3) {
      Churn(number, host, port);
    } else if (sscanf(line, "udp %255s %d %ld", host, &port, &number) == 3) {
      Udp(host, port, (int)number);
    } else if (sscanf(line, "resolve %255s", host) == 1) {
      Lookup(host);
    } else if (sscanf(line, "sleep %ld", &number) == 1) {
      SleepMs(number);
      printf("{\"ok\": true}\n");
    } else {
      sscanf(line, "%31s", word);
      fprintf(stderr, "im-peer: unknown command: %s\n", word);
      return 2;
    }
    fflush(stdout);
  }
  return 0;
}

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc >= 2 && strcmp(argv[1], "serve") == 0) return Serve(argc - 2, argv + 2);
  if (argc == 2 && strcmp(argv[1], "drive") == 0) return Drive();
  if (argc == 5 && strcmp(argv[1], "ticks") == 0) return Ticks(argc - 2, argv + 2);
  fprintf(stderr, "usage: im-peer serve [--echo PORT] [--sink PORT] [--udp PORT] "
                  "[--listen-after-ms N] [--exit-after-ms N] | drive\n"
                  "       im-peer ticks sleep|poll|select PERIOD_MS COUNT\n");
  return 2;
}
