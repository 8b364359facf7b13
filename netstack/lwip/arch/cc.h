/* lwIP's view of compiler and platform. */

#ifndef IM_NETSTACK_LWIP_ARCH_CC_H_
#define IM_NETSTACK_LWIP_ARCH_CC_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

uint32_t im_lwip_random(void);
void* im_lwip_malloc(size_t size);
void* im_lwip_calloc(size_t count, size_t size);
void im_lwip_free(void* block);
void im_lwip_assertion_failed(const char* message, const char* file, int line)
    __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

/* glibc's <endian.h>, reached through other headers, defines the same. */
#include <endian.h>

#define LWIP_RAND() im_lwip_random()
#define LWIP_PLATFORM_DIAG(x) \
  do {                        \
  } while (0)
#define LWIP_PLATFORM_ASSERT(x) im_lwip_assertion_failed((x), __FILE__, __LINE__)
/* ssize_t is the system's. */
#define LWIP_NO_UNISTD_H 0

#endif /* IM_NETSTACK_LWIP_ARCH_CC_H_ */
