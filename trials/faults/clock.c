/* A host whose wall clock is AHEAD_S seconds ahead: loaded into all of its processes (LD_PRELOAD).
 *
 * What tells the wall-clock time tells a later one, and a wait until a wall-clock time is led back,
 * so that it ends when it should. The monotonic clocks, and waits on them, are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WALL(clock) ((clock) == CLOCK_REALTIME || (clock) == CLOCK_REALTIME_COARSE)

static const time_t YEAR_2001 = 1000000000; /* no monotonic clock has got so far */

static time_t ahead(void)
{
    static time_t seconds = -1;
    if (seconds < 0) {
        const char *given = getenv("AHEAD_S");
        seconds = given ? atol(given) : 0;
    }
    return seconds;
}

static const struct timespec *led_back(const struct timespec *until, struct timespec *held)
{
    if (until == NULL || until->tv_sec < YEAR_2001)
        return until;
    *held = *until;
    held->tv_sec -= ahead();
    return held;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static __typeof__(&clock_gettime) next;
    if (next == NULL)
        next = NEXT(clock_gettime);
    int failed = next(clock, now);
    if (!failed && WALL(clock))
        now->tv_sec += ahead();
    return failed;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    struct timespec held;
    return NEXT(clock_nanosleep)(clock, flags, flags ? led_back(until, &held) : until, left);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
    struct timespec held;
    return NEXT(sem_timedwait)(semaphore, led_back(until, &held));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
    struct timespec held;
    return NEXT(pthread_mutex_timedlock)(mutex, led_back(until, &held));
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    static __typeof__(&pthread_cond_timedwait) next;
    struct timespec held;
    if (next == NULL) /* there is an older one of this name */
        next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    return next(condition, mutex, led_back(until, &held));
}

/* absl, and with it Ray and gRPC, waits on a futex until a wall-clock time. */
long syscall(long number, ...)
{
    static __typeof__(&syscall) next;
    struct timespec held;
    long given[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        given[i] = va_arg(rest, long);
    va_end(rest);
    if (next == NULL)
        next = NEXT(syscall);
    if (number == SYS_futex && (given[1] & FUTEX_CLOCK_REALTIME))
        given[3] = (long)led_back((const struct timespec *)given[3], &held);
    return next(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
