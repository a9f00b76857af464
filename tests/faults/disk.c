/* A disk that fails, or is slow, or full, when the file $DISK_CONTROL says so:
 *
 *   ok         as if this were not here
 *   eio        fsync, fdatasync and sync_file_range fail with EIO
 *   slow <ms>  they take so much longer
 *   enospc     writes, longer files and new names fail with ENOSPC
 *
 * Preloaded into a process (LD_PRELOAD), it concerns the files under $DISK_DIR alone. The control is read
 * in each call; whoever changes it renames another file to its name, so a call sees the one or the
 * other.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PATH 4096

enum mode { OK, EIO_OF_SYNC, SLOW, FULL };

static const char *watched, *control;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    watched = getenv("DISK_DIR");
    control = getenv("DISK_CONTROL");
}

static int is_watched(const char *path) {
    size_t length = watched ? strlen(watched) : 0;
    return length && !strncmp(path, watched, length) && (path[length] == '/' || !path[length]);
}

static int watched_fd(int fd) {
    char link[64], path[PATH];
    if (!watched || fd < 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_watched(path);
}

static int watched_path(int folder, const char *path) {
    char base[PATH] = "", link[64], whole[2 * PATH];
    if (!watched) return 0;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 2);
        if (length > 0) base[length] = '/', base[length + 1] = 0;
    }
    snprintf(whole, sizeof whole, "%s%s", base, path);
    return is_watched(whole);
}

static enum mode mode(int *ms) {
    char text[32] = "";
    int before = errno;
    int fd = control ? REAL(open64)(control, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)!read(fd, text, sizeof text - 1);
        close(fd);
    }
    errno = before;
    if (!strncmp(text, "eio", 3)) return EIO_OF_SYNC;
    if (!strncmp(text, "enospc", 6)) return FULL;
    if (sscanf(text, "slow %d", ms) == 1) return SLOW;
    return OK;
}

static int fails_sync(int fd) {
    int ms = 0;
    if (!watched_fd(fd)) return 0;
    switch (mode(&ms)) {
    case EIO_OF_SYNC:
        errno = EIO;
        return 1;
    case SLOW: {
        struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
        nanosleep(&pause, NULL);
        return 0;
    }
    default:
        return 0;
    }
}

static int no_room(int is_ours) {
    int ms;
    if (!is_ours || mode(&ms) != FULL) return 0;
    errno = ENOSPC;
    return 1;
}

int fsync(int fd) { return fails_sync(fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails_sync(fd) ? -1 : REAL(fdatasync)(fd); }

int sync_file_range(int fd, off64_t from, off64_t count, unsigned flags) {
    return fails_sync(fd) ? -1 : REAL(sync_file_range)(fd, from, count, flags);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return no_room(watched_fd(fd)) ? -1 : REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return no_room(watched_fd(fd)) ? -1 : REAL(writev)(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t from) {
    return no_room(watched_fd(fd)) ? -1 : REAL(pwrite64)(fd, bytes, count, from);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t from) {
    return pwrite64(fd, bytes, count, from);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t from) {
    return no_room(watched_fd(fd)) ? -1 : REAL(pwritev64)(fd, parts, count, from);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t from) {
    return pwritev64(fd, parts, count, from);
}

/* A file that gets shorter needs no room. */
int ftruncate64(int fd, off64_t length) {
    struct stat about;
    int is_ours = watched_fd(fd) && !fstat(fd, &about) && length > about.st_size;
    return no_room(is_ours) ? -1 : REAL(ftruncate64)(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int opened(int folder, const char *path, int flags, mode_t bits) {
    struct stat about;
    int is_new = flags & O_CREAT && watched_path(folder, path) && fstatat(folder, path, &about, 0);
    return no_room(is_new) ? -1 : REAL(openat64)(folder, path, flags, bits);
}

#define BITS                                     \
    mode_t bits = 0;                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {       \
        va_list rest;                            \
        va_start(rest, flags);                   \
        bits = va_arg(rest, mode_t);             \
        va_end(rest);                            \
    }

int open64(const char *path, int flags, ...) { BITS return opened(AT_FDCWD, path, flags, bits); }
int open(const char *path, int flags, ...) { BITS return opened(AT_FDCWD, path, flags, bits); }
int openat64(int at, const char *path, int flags, ...) { BITS return opened(at, path, flags, bits); }
int openat(int at, const char *path, int flags, ...) { BITS return opened(at, path, flags, bits); }

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    if (no_room(watched_path(to_folder, to))) return -1;
    return REAL(renameat)(from_folder, from, to_folder, to);
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
