// The commands of im-peer that measure many times, and answer once (im_peer.c).

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "im_peer.h"

// ---- many round trips --------------------------------------------------------

enum { kTripsMax = 1 << 20 };
static long long trips_ns[kTripsMax];

static long long NowNs(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void TellTrips(long count) {
  printf("{\"ok\": true, \"trips_us\": [");
  for (long i = 0; i < count; ++i) printf("%s%.2f", i > 0 ? "," : "", (double)trips_ns[i] / 1e3);
  printf("]}\n");
}

// `size` bytes there and back; 0, or an error number.
static int Trip(int fd, size_t size) {
  if (SendAll(fd, buffer, size) != 0) return errno;
  for (size_t received = 0; received < size;) {
    ssize_t n = recv(fd, buffer, size - received, 0);
    if (n == 0) return EPIPE;
    if (n < 0 && errno != EINTR) return errno;
    if (n > 0) received += (size_t)n;
  }
  return 0;
}

static int CountIsBad(long count) {
  if (count > 0 && count <= kTripsMax) return 0;
  Fail(ERANGE, NowUs());
  return 1;
}

// One after the other; 0, or an error number.
static int ClosedLoop(int fd, size_t size, long count) {
  for (long i = 0; i < count; ++i) {
    long long begin_ns = NowNs();
    int error = Trip(fd, size);
    if (error != 0) return error;
    trips_ns[i] = NowNs() - begin_ns;
  }
  return 0;
}

// Each is sent when it is due, whether those before are back or not; 0, or an error number.
static int OpenLoop(int fd, size_t size, long count, long long interval_ns) {
  const long long patience_ns = 30000000000LL, start_ns = NowNs();
  size_t received = 0;
  for (long sent = 0, back = 0; back < count;) {
    long long wait_ns = patience_ns;
    if (sent < count) wait_ns = start_ns + sent * interval_ns - NowNs();
    if (wait_ns <= 0) {
      if (SendAll(fd, buffer, size) != 0) return errno;
      ++sent;
      continue;
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec wait = {wait_ns / 1000000000LL, wait_ns % 1000000000LL};
    int ready = ppoll(&p, 1, &wait, NULL);
    if (ready < 0 && errno != EINTR) return errno;
    if (ready == 0 && sent == count) return ETIMEDOUT;
    if (ready <= 0) continue;
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n == 0) return EPIPE;
    if (n < 0) return errno;
    received += (size_t)n;
    for (long long now_ns = NowNs(); back < count && (size_t)(back + 1) * size <= received; ++back)
      trips_ns[back] = now_ns - (start_ns + back * interval_ns);
  }
  return 0;
}

void Trips(int id, long size, long count, long interval_us) {
  if (CountIsBad(count)) return;
  if (size <= 0 || (size_t)size > sizeof buffer) return Fail(ERANGE, NowUs());
  long long start_us = NowUs();
  int error = interval_us > 0 ? OpenLoop(*Slot(id), (size_t)size, count, interval_us * 1000LL)
                              : ClosedLoop(*Slot(id), (size_t)size, count);
  if (error != 0) return Fail(error, start_us);
  TellTrips(count);
}

void UdpTrips(const char* host, int port, long count) {
  struct sockaddr_in address;
  if (CountIsBad(count)) return;
  long long start_us = NowUs();
  if (Resolve(host, port, SOCK_DGRAM, &address) != 0) return Fail(EHOSTUNREACH, start_us);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) {
    close(fd);
    return Fail(EHOSTUNREACH, start_us);
  }
  long done = 0;
  for (int lost = 0; done < count && lost < 10;) {
    long long begin_ns = NowNs();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    // One that is lost is no trip; many are a failure.
    if (send(fd, "hello", 5, 0) != 5 || poll(&p, 1, 1000) <= 0 ||
        recv(fd, buffer, sizeof buffer, 0) != 5) {
      ++lost;
      continue;
    }
    trips_ns[done++] = NowNs() - begin_ns;
  }
  close(fd);
  if (done < count) return Fail(ETIMEDOUT, start_us);
  TellTrips(count);
}

void ConnectRequestClose(const char* host, int port, long count) {
  struct sockaddr_in address;
  if (CountIsBad(count)) return;
  long long start_us = NowUs();
  if (Resolve(host, port, SOCK_STREAM, &address) != 0) return Fail(EHOSTUNREACH, start_us);
  for (long i = 0; i < count; ++i) {
    long long begin_ns = NowNs();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) Die("socket");
    int error = connect(fd, (struct sockaddr*)&address, sizeof address) == 0 ? 0 : errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (error == 0) error = Trip(fd, 1);
    close(fd);
    if (error != 0) return Fail(error, start_us);
    trips_ns[i] = NowNs() - begin_ns;
  }
  TellTrips(count);
}

// ---- everybody at once -------------------------------------------------------

enum { kStormMax = 4096 };

void Storm(const char* name, long count, int port) {
  static struct sockaddr_in addresses[kStormMax];
  static struct pollfd peers[kStormMax];
  char host[300];
  if (count <= 0 || count > kStormMax) return Fail(ERANGE, NowUs());
  for (long i = 0; i < count; ++i) {
    snprintf(host, sizeof host, "%s-%ld", name, i + 1);
    if (Resolve(host, port, SOCK_STREAM, &addresses[i]) != 0) return Fail(EHOSTUNREACH, NowUs());
  }
  long long start_us = NowUs(), first_us = 0, last_us = 0;
  long open = 0, failed = 0;
  for (long i = 0; i < count; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) Die("socket");
    int result = connect(fd, (struct sockaddr*)&addresses[i], sizeof addresses[i]);
    int begun = result == 0 || errno == EINPROGRESS;
    peers[i] = (struct pollfd){.fd = fd, .events = POLLOUT};
    if (begun) ++open;
    if (!begun) ++failed, close(fd), peers[i].fd = -1;
  }
  while (open > 0 && poll(peers, (nfds_t)count, 120000) > 0) {
    for (long i = 0; i < count; ++i) {
      if (peers[i].fd < 0 || peers[i].revents == 0) continue;
      char byte = 'x';
      if (peers[i].events == POLLOUT && send(peers[i].fd, &byte, 1, MSG_NOSIGNAL) == 1) {
        peers[i].events = POLLIN;
        continue;
      }
      if (recv(peers[i].fd, &byte, 1, 0) == 1) {
        last_us = NowUs() - start_us;
        if (first_us == 0) first_us = last_us;
      } else {
        ++failed;
      }
      close(peers[i].fd);
      peers[i].fd = -1;
      --open;
    }
  }
  for (long i = 0; i < count; ++i) {
    if (peers[i].fd >= 0) ++failed, close(peers[i].fd);
  }
  printf("{\"ok\": true, \"first_us\": %lld, \"last_us\": %lld, \"failed\": %ld}\n", first_us,
         last_us, failed);
}
