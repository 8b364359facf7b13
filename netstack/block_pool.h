// BlockPool: what lwIP allocates, large blocks kept for the next use.
//
// A busy connection has a segment of 60 KB made, sent and freed thousands of
// times a second, and receives as many. The C library gives such memory back to
// the system again and again, and gets it anew page by page, which costs more
// than all of lwIP. So blocks of 8 KB and more come in a few sizes, and up to
// kPooledBytesMax of them are kept. None are after a quiet spell (tcp_timer.cc),
// so that an idle stack holds nothing. Smaller ones are the C library's.
//
// It is lwIP's malloc (lwip/lwipopts.h), so it is of the process, and used by
// the stack's thread alone.

#ifndef IM_NETSTACK_BLOCK_POOL_H_
#define IM_NETSTACK_BLOCK_POOL_H_

#include <cstddef>

namespace im::netstack {

// What a flow at full speed has made, sent and freed within a round trip.
inline constexpr size_t kPooledBytesMax = 4 << 20;

// nullptr when there is no memory.
void* AllocateBlock(size_t size);
void FreeBlock(void* block);
// Gives all that is kept back to the C library.
void TrimBlocks();
size_t PooledBytes();

}  // namespace im::netstack

#endif  // IM_NETSTACK_BLOCK_POOL_H_
