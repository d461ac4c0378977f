/* Preloaded: a process believes in a wall clock that is some time ahead of the machine's, or behind.
 *
 * How far is in a file that the bench maps, too: whoever has it mapped sees a jump at once. The
 * monotonic clock is left alone, and so is the time that the kernel gives to files.
 *
 * Source: what follows the wall clock in glibc, its manual's "Getting the Time" and POSIX:
 * pthread_cond_timedwait and sem_timedwait, whose deadlines are absolute. A wait that has begun does
 * not notice a jump here, as it would on a device; so such waits are counted, and there should be
 * none. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS INT64_C(1000000000)

/* The file; see `bench.faults.clock`. */
struct shared {
    _Atomic int64_t offset_ns;
    _Atomic int64_t n_wall_waits;
};

static struct shared nowhere;
static struct shared *shared = &nowhere;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void open_shared(void)
{
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("EDGEXGB_BENCH_CLOCK");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *found = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED)
        shared = found;
}

static int64_t to_ns(const struct timespec *time)
{
    return time->tv_sec * NS + time->tv_nsec;
}

static struct timespec from_ns(int64_t ns)
{
    struct timespec time = {.tv_sec = ns / NS, .tv_nsec = ns % NS};
    if (time.tv_nsec < 0) {
        time.tv_sec--;
        time.tv_nsec += NS;
    }
    return time;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    /* Another library's constructor may ask before ours has run. */
    int failed = real_gettime == NULL ? (int)syscall(SYS_clock_gettime, clock, time)
                                      : real_gettime(clock, time);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        *time = from_ns(to_ns(time) + atomic_load_explicit(&shared->offset_ns, memory_order_relaxed));
    return failed;
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return to_ns(&time);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    (void)zone; /* obsolete, and nobody asks for it */
    struct timespec now = from_ns(now_ns(CLOCK_REALTIME));
    *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    time_t now = from_ns(now_ns(CLOCK_REALTIME)).tv_sec;
    if (out != NULL)
        *out = now;
    return now;
}

int timespec_get(struct timespec *time, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

/* A deadline by the monotonic clock; of a condition variable nobody else knows which clock it has,
 * so it is the one whose present is nearer. */
static struct timespec by_monotonic(const struct timespec *deadline, int may_be_monotonic)
{
    int64_t end_ns = to_ns(deadline), monotonic_ns = now_ns(CLOCK_MONOTONIC);
    int64_t left_ns = end_ns - now_ns(CLOCK_REALTIME);
    if (may_be_monotonic && llabs(end_ns - monotonic_ns) < llabs(left_ns))
        return *deadline;
    atomic_fetch_add_explicit(&shared->n_wall_waits, 1, memory_order_relaxed);
    return from_ns(monotonic_ns + left_ns > 0 ? monotonic_ns + left_ns : 0);
}

static int is_no_time(const struct timespec *time)
{
    return time->tv_nsec < 0 || time->tv_nsec >= NS;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline)
{
    if (is_no_time(deadline))
        return EINVAL;
    struct timespec end = by_monotonic(deadline, 1);
    return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &end);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline)
{
    if (is_no_time(deadline)) {
        errno = EINVAL;
        return -1;
    }
    struct timespec end = by_monotonic(deadline, 0);
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, &end);
}
