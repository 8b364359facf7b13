/* im_net: a host of a network inside a program, for C and for whatever can call
 * C: TCP and UDP over a WireGuard tunnel, without root and without a device.
 *
 *   im_net_start();
 *   int nic = im_net_add_tunnel("[Interface]\nPrivateKey = ...\nAddress = 10.77.0.9/16\n"
 *                               "[Peer]\nPublicKey = ...\nEndpoint = 192.0.2.1:51820\n"
 *                               "AllowedIPs = 10.77.0.0/16\n");
 *   int handle = im_net_connect(remote, remote_length, NULL, 0, 5000);
 *   im_net_wait(handle, IM_NET_OUT, -1);
 *   im_net_write(handle, "hello", 5);
 *
 * The stack runs on a thread of its own, one in a process. Every function here
 * may be called by any thread, and none waits for the network but im_net_wait;
 * those that add and remove wait for the stack's thread.
 *
 * Handles are file descriptors, of eventfds: a handle is readable (EPOLLIN,
 * POLLIN) while it is ready for what its owner is interested in, IM_NET_IN at
 * first; im_net_interest changes that. So it goes into epoll, poll, libuv
 * (uv_poll_t, UV_READABLE) or asio (posix::stream_descriptor, wait_read) as it
 * is. Do not read, write or close it otherwise than by the functions here.
 *
 * Errors: -1, and errno as a socket would set it:
 *   EAGAIN         nothing to read, no room to write, nobody to accept
 *   ECONNREFUSED ECONNRESET ETIMEDOUT EHOSTUNREACH EADDRINUSE EADDRNOTAVAIL
 *                  as of connect(2), read(2) and bind(2)
 *   EPIPE          written after shutdown
 *   ENOBUFS        a limit of the stack
 *   EINVAL EFAULT EAFNOSUPPORT EMSGSIZE     the arguments
 *   EBADF          not a handle of ours, or not an interface
 *   EOPNOTSUPP     a handle of another kind
 *   EALREADY       im_net_start: there is a stack in this process
 *   ECANCELED      there is no stack, or no longer
 *   EDEADLK        called from an output function, where it may not be
 * im_net_message() says more about the last one.
 *
 * Limits: 256 KB wait in each direction of a connection beside what the stack holds
 * (net.h), 1 MB of datagrams in each direction of a UDP handle. The process may
 * not fork and go on using them in the child. C99, POSIX. */

#ifndef IM_NETSTACK_IM_NET_H_
#define IM_NETSTACK_IM_NET_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The stack ---- */

int im_net_start(void);
/* Everything open ends with ECANCELED; handles are still to be closed. */
int im_net_stop(void);
/* About this thread's last error; "" if there was none. Never NULL. Good until
 * the thread's next call. */
const char* im_net_message(void);

/* ---- Interfaces: numbers above 0, not handles ---- */

/* A WireGuard tunnel. `config` as wg-quick(8) has it: one [Interface] with
 * PrivateKey, Address (one or more, with prefix lengths), ListenPort (a port, or
 * address:port; default any), MTU (default 1420); [Peer]s with PublicKey,
 * PresharedKey, AllowedIPs, Endpoint (an address, no name), PersistentKeepalive.
 * Other keys are errors. Sessions are renewed when the machine was asleep, or was
 * taken up from a snapshot, where that can be noticed (base/restore_watch.h);
 * whoever takes up a saved state of this process in other ways removes the
 * tunnel and adds it again, since nonces must not repeat. */
int im_net_add_tunnel(const char* config);
/* The UDP endpoint where a tunnel receives. */
int im_net_tunnel_endpoint(int nic, struct sockaddr* address, socklen_t* length);

/* IP packets, one for each read and write: a TUN device without packet
 * information, or a SOCK_SEQPACKET or SOCK_DGRAM socket, to another process'
 * stack for one. `fd` is duplicated, and set to non-blocking. `address` has a
 * prefix length ("10.0.0.1/24"). mtu in bytes; 0: 1420. */
int im_net_add_fd(const char* address, int mtu, int fd);

/* `output` gets each IP packet that leaves, on the stack's thread; it may call
 * im_net_input, and must not wait. What comes in is given to im_net_input, which
 * copies it; EAGAIN: more than 8 MB wait, the packet is dropped. */
typedef void im_net_output(void* context, const void* packet, size_t size);
int im_net_add_callback(const char* address, int mtu, im_net_output* output, void* context);
int im_net_input(int nic, const void* packet, size_t size);

/* Two interfaces back to back. Connect from one to the other by naming the
 * local address, since both are this stack's own. */
int im_net_add_pair(const char* address_a, const char* address_b, int mtu, int nics[2]);

/* Its connections end with EHOSTUNREACH. */
int im_net_remove(int nic);

/* ---- TCP ---- */

/* Returns a handle at once. It gets IM_NET_OUT when it is connected, IM_NET_END
 * if that fails (im_net_error says why). `local` may be NULL: by route, any
 * port. timeout_ms < 0: 127 s. */
int im_net_connect(const struct sockaddr* remote, socklen_t remote_length,
                   const struct sockaddr* local, socklen_t local_length, int timeout_ms);
/* 0.0.0.0: all of IPv4; ::: both families. At most `backlog` (1 to 4096)
 * connections wait to be accepted; then peers wait. */
int im_net_listen(const struct sockaddr* local, socklen_t length, int backlog);
/* `peer` and `length` may be NULL. */
int im_net_accept(int listener, struct sockaddr* peer, socklen_t* length);
/* 0: the peer has closed its half. */
ssize_t im_net_read(int handle, void* buffer, size_t size);
/* Takes what there is room for. */
ssize_t im_net_write(int handle, const void* bytes, size_t size);
/* Half close: FIN after what was written (SHUT_WR). */
int im_net_shutdown(int handle);
/* RST, and no more; the handle is still to be closed. */
int im_net_abort(int handle);
int im_net_set_nodelay(int handle, int on);
/* Seconds, and the number of probes; idle_s 0: off. As SO_KEEPALIVE. */
int im_net_set_keepalive(int handle, int idle_s, int interval_s, int probes);

/* ---- UDP ---- */

int im_net_udp(const struct sockaddr* local, socklen_t length);
/* Only from and to `remote` from now on; ICMP errors are told. */
int im_net_udp_connect(int handle, const struct sockaddr* remote, socklen_t length);
/* `remote` may be NULL on a connected handle. At most 65,507 bytes. */
ssize_t im_net_sendto(int handle, const void* bytes, size_t size, const struct sockaddr* remote,
                      socklen_t length);
/* Gives the datagram's size, which may be more than `size`: the rest is lost.
 * `from` and `length` may be NULL. */
ssize_t im_net_recvfrom(int handle, void* buffer, size_t size, struct sockaddr* from,
                        socklen_t* length);

/* ---- Any handle ---- */

enum {
  IM_NET_IN = 1,  /* a read, accept or recvfrom does not give EAGAIN */
  IM_NET_OUT = 2, /* a write or sendto takes something, or tells an error */
  IM_NET_END = 4  /* both directions ended; always of interest */
};

/* A connection's that was closed still delivers what was written, for at most a
 * minute; with bytes unread it is reset. */
int im_net_close(int handle);
int im_net_interest(int handle, int events);
/* What it is ready for now. */
int im_net_ready(int handle);
/* Waits for one of `events` or IM_NET_END; gives what is ready, 0 after
 * timeout_ms. Negative: for ever. */
int im_net_wait(int handle, int events, int timeout_ms);
/* Why a connection ended, as an errno; 0 while it lives, and if both sides
 * closed it. */
int im_net_error(int handle);
/* As getsockname(2) and getpeername(2); ENOTCONN. */
int im_net_local(int handle, struct sockaddr* address, socklen_t* length);
int im_net_peer(int handle, struct sockaddr* address, socklen_t* length);

/* "10.77.0.2:80", "[fd00::2]:80" as a socket address; `length` is set. */
int im_net_parse(const char* text, struct sockaddr_storage* address, socklen_t* length);

#ifdef __cplusplus
}
#endif

#endif /* IM_NETSTACK_IM_NET_H_ */
