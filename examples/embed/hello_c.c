/* As hello.cc, in C, by epoll(7).
 *
 *   hello_c PRIVATE_KEY ADDRESS PEER_PUBLIC_KEY PEER_PREFIX */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "netstack/im_net.h"

static const char kAnswer[] = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

static void Watch(int epoll, int handle) {
  struct epoll_event event;
  event.events = EPOLLIN;
  event.data.fd = handle;
  epoll_ctl(epoll, EPOLL_CTL_ADD, handle, &event);
}

/* A request is small and comes at once, or is not answered. */
static void Answer(int epoll, int handle) {
  char request[4096];
  const ssize_t n = im_net_read(handle, request, sizeof(request) - 1);
  if (n < 0 && errno == EAGAIN) return;
  if (n > 0) {
    request[n] = 0;
    if (strstr(request, "\r\n\r\n") != NULL) im_net_write(handle, kAnswer, sizeof(kAnswer) - 1);
  }
  epoll_ctl(epoll, EPOLL_CTL_DEL, handle, NULL);
  im_net_close(handle); /* what was written still arrives */
}

int main(int argc, char** argv) {
  char config[1000], text[INET6_ADDRSTRLEN + 8];
  struct sockaddr_storage local;
  struct sockaddr_in where;
  socklen_t length, where_length = sizeof(where);
  int nic, listener, epoll;
  if (argc != 5) {
    fprintf(stderr, "usage: hello_c PRIVATE_KEY ADDRESS PEER_PUBLIC_KEY PEER_PREFIX\n");
    return 2;
  }
  snprintf(config, sizeof(config),
           "[Interface]\nPrivateKey = %s\nAddress = %s/24\nListenPort = 127.0.0.1:0\n"
           "[Peer]\nPublicKey = %s\nAllowedIPs = %s\n", argv[1], argv[2], argv[3], argv[4]);
  snprintf(text, sizeof(text), strchr(argv[2], ':') ? "[%s]:80" : "%s:80", argv[2]);
  if (im_net_start() != 0 || (nic = im_net_add_tunnel(config)) < 0 ||
      im_net_parse(text, &local, &length) != 0 ||
      (listener = im_net_listen((struct sockaddr*)&local, length, 128)) < 0 ||
      im_net_tunnel_endpoint(nic, (struct sockaddr*)&where, &where_length) != 0) {
    fprintf(stderr, "hello_c: %s\n", im_net_message());
    return 1;
  }
  printf("127.0.0.1:%d\n", ntohs(where.sin_port));
  fflush(stdout);
  epoll = epoll_create1(0);
  Watch(epoll, listener);
  for (;;) {
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) != 1) continue;
    if (event.data.fd != listener) {
      Answer(epoll, event.data.fd);
      continue;
    }
    const int handle = im_net_accept(listener, NULL, NULL);
    if (handle >= 0) Watch(epoll, handle);
  }
}
