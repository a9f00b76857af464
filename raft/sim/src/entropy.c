/* A process without chance: what it asks the kernel's random numbers for follows from $ENTROPY, equal in
 * each run. Preloaded (LD_PRELOAD), it stands before all of them: the seeds of hash maps, of the runtime's
 * choices between branches, and of what programs draw themselves. Each thread has the same to begin with, so
 * that none disturbs another; secret it is not.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static __thread uint64_t state;
static __thread int begun;

/* SplitMix64. */
static uint64_t next(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

ssize_t getrandom(void *to, size_t count, unsigned flags) {
    (void)flags;
    if (!begun) {
        const char *seed = getenv("ENTROPY");
        state = seed ? strtoull(seed, NULL, 10) : 0;
        begun = 1;
    }
    for (size_t at = 0; at < count; at += sizeof(uint64_t)) {
        uint64_t bits = next();
        size_t rest = count - at < sizeof bits ? count - at : sizeof bits;
        memcpy((char *)to + at, &bits, rest);
    }
    return (ssize_t)count;
}

int getentropy(void *to, size_t count) {
    getrandom(to, count, 0);
    return 0;
}
