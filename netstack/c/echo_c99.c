/* How a C program uses im_net, compiled as C99: an echo over two interfaces back
 * to back, by poll(2) alone. Called by im_net_test.cc; gives the number of the
 * line where it went wrong, or 0. */

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "netstack/im_net.h"

int ImNetEchoC99(const char* from, const char* to);

#define EXPECT(condition) \
  do {                    \
    if (!(condition)) return __LINE__; \
  } while (0)

static int Readable(int handle) {
  struct pollfd polled;
  polled.fd = handle;
  polled.events = POLLIN;
  polled.revents = 0;
  return poll(&polled, 1, 30000) == 1;
}

int ImNetEchoC99(const char* from, const char* to) {
  struct sockaddr_storage local, remote, peer;
  socklen_t local_length, remote_length, peer_length = sizeof(peer);
  char buffer[16];
  int listener, client, server;
  EXPECT(im_net_parse(from, &local, &local_length) == 0);
  EXPECT(im_net_parse(to, &remote, &remote_length) == 0);
  listener = im_net_listen((struct sockaddr*)&remote, remote_length, 16);
  EXPECT(listener >= 0);
  EXPECT(im_net_accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
  client = im_net_connect((struct sockaddr*)&remote, remote_length, (struct sockaddr*)&local,
                          local_length, 10000);
  EXPECT(client >= 0);
  EXPECT(im_net_interest(client, IM_NET_OUT) == 0);
  EXPECT(Readable(client)); /* connected */
  EXPECT(im_net_interest(client, IM_NET_IN) == 0);
  EXPECT(Readable(listener));
  server = im_net_accept(listener, (struct sockaddr*)&peer, &peer_length);
  EXPECT(server >= 0);
  EXPECT(peer.ss_family == local.ss_family);

  EXPECT(im_net_read(client, buffer, sizeof(buffer)) == -1 && errno == EAGAIN);
  EXPECT(im_net_write(client, "hello", 5) == 5);
  EXPECT(im_net_shutdown(client) == 0);
  EXPECT(im_net_write(client, "more", 4) == -1 && errno == EPIPE);
  EXPECT(Readable(server));
  EXPECT(im_net_read(server, buffer, sizeof(buffer)) == 5);
  EXPECT(im_net_write(server, buffer, 5) == 5);
  EXPECT(Readable(server));
  EXPECT(im_net_read(server, buffer, sizeof(buffer)) == 0); /* its FIN */
  EXPECT(im_net_close(server) == 0);
  memset(buffer, 0, sizeof(buffer));
  EXPECT(Readable(client));
  EXPECT(im_net_read(client, buffer, sizeof(buffer)) == 5);
  EXPECT(memcmp(buffer, "hello", 5) == 0);
  EXPECT(im_net_wait(client, 0, 30000) == IM_NET_END);
  EXPECT(im_net_read(client, buffer, sizeof(buffer)) == 0);
  EXPECT(im_net_error(client) == 0);
  EXPECT(im_net_close(client) == 0);
  EXPECT(im_net_close(client) == -1 && errno == EBADF);
  EXPECT(im_net_close(listener) == 0);
  return 0;
}
