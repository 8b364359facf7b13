// What the parts of im-peer share.

#ifndef IM_TESTS_PROGRAMS_IM_PEER_H_
#define IM_TESTS_PROGRAMS_IM_PEER_H_

#include <netinet/in.h>
#include <stddef.h>

enum { kBufferBytes = 1 << 17 };
extern char buffer[kBufferBytes];

long long NowUs(void);
// Ends the program.
void Die(const char* what);
// Answers that a command failed.
void Fail(int error, long long since_us);
// 0, or an error of getaddrinfo(3).
int Resolve(const char* host, int port, int type, struct sockaddr_in* out);
// 0, or -1 with errno.
int SendAll(int fd, const char* bytes, size_t size);
// The descriptor of connection `id`.
int* Slot(int id);

// im_peer_trips.c: commands that measure many times, and answer once.
void Trips(int id, long size, long count, long interval_us);
void UdpTrips(const char* host, int port, long count);
void ConnectRequestClose(const char* host, int port, long count);
void Storm(const char* name, long count, int port);

// im_peer_ticks.c: a program that waits for nothing but the time.
int Ticks(int argc, char** argv);

#endif  // IM_TESTS_PROGRAMS_IM_PEER_H_
