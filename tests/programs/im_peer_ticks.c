// im-peer ticks: how late a program that sleeps is served (im_peer.c).

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "im_peer.h"

static void Wait(const char* how, long ms) {
  if (strcmp(how, "poll") == 0) {
    if (poll(NULL, 0, (int)ms) != 0) Die("poll");
  } else if (strcmp(how, "select") == 0) {
    struct timeval t = {ms / 1000, (ms % 1000) * 1000};
    if (select(0, NULL, NULL, NULL, &t) != 0) Die("select");
  } else {
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    if (nanosleep(&t, NULL) != 0) Die("nanosleep");
  }
}

int Ticks(int argc, char** argv) {
  (void)argc;
  const long period_ms = atol(argv[1]), count = atol(argv[2]);
  for (long i = 0; i < count; ++i) {
    const long long due_us = NowUs() + period_ms * 1000LL;
    Wait(argv[0], period_ms);
    printf("{\"late_us\": %lld}\n", NowUs() - due_us);
    fflush(stdout);
  }
  for (;;) pause();
}
