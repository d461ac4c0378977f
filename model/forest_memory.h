/* Memory for a forest: large ones are mapped whole, for a page fault every 4 KB takes longer than to
 * fill them. Elsewhere than on Linux, and under sanitizers, which build without the names that say
 * so, it comes from the heap. */
#ifndef EDGEXGB_FOREST_MEMORY_H
#define EDGEXGB_FOREST_MEMORY_H

#include <stdlib.h>
#include <sys/mman.h>

#define FOREST_MAPPED_BYTES (1u << 18)

/* Lines of 64 bytes, as many as they are; NULL where there is no room. */
static void *forest_allocate(size_t n_bytes)
{
#ifdef MAP_POPULATE
    if (n_bytes >= FOREST_MAPPED_BYTES) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
        void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        return memory == MAP_FAILED ? NULL : memory;
    }
#endif
    return aligned_alloc(64, n_bytes);
}

static void forest_release(void *memory, size_t n_bytes)
{
#ifdef MAP_POPULATE
    if (memory != NULL && n_bytes >= FOREST_MAPPED_BYTES) {
        munmap(memory, n_bytes);
        return;
    }
#endif
    (void)n_bytes;
    free(memory);
}

#endif
