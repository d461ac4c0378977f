/* How many threads may walk: a limit for the process, not for each caller.
 *
 * A machine that has two cores is not helped by four callers who start a helper each. Everybody who
 * walks through much is counted, callers and helpers alike. Callers always walk; helpers join only
 * while fewer walk than a caller's limit, and leave when others have come in the meantime. So there
 * are never more helpers than the largest limit less one, however many callers there are.
 *
 * What takes less than a thread costs is neither counted nor shared: it pays nothing here.
 */
#ifndef EDGEXGB_FOREST_THREADS_H
#define EDGEXGB_FOREST_THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { MAX_THREADS = 64 };

static atomic_uint threads_walking;

/* Whether one more may walk; it is counted then. */
static bool threads_join(unsigned limit)
{
    unsigned n = atomic_load(&threads_walking);
    while (n < limit)
        if (atomic_compare_exchange_weak(&threads_walking, &n, n + 1))
            return true;
    return false;
}

/* Counts a caller. How many may walk for it with itself, as things are. */
static unsigned threads_enter(unsigned limit)
{
    unsigned others = atomic_fetch_add(&threads_walking, 1);
    return others < limit ? limit - others : 1;
}

static void threads_leave(void)
{
    atomic_fetch_sub(&threads_walking, 1);
}

static bool threads_crowded(unsigned limit)
{
    return atomic_load(&threads_walking) > limit;
}

/* A process that was forked has one thread alone, which does not walk. */
static inline void threads_forget(void)
{
    atomic_store(&threads_walking, 0);
}

#endif
