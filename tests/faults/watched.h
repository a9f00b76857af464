/* What the libraries here have in common. Each is preloaded into a process (LD_PRELOAD) and changes what
 * the disk does to the files under one folder: which those are, how the real functions are reached, and
 * the functions that say the same as another one.
 *
 * Who includes it sets `watched` and defines `opened`, `pwrite64`, `pwritev64`, `ftruncate64` and
 * `renameat`.
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
#include <unistd.h>

#define PATH 4096

/* The folder; NULL: nothing is changed. */
static const char *watched;

/* Opens a file as `openat` does. */
static int opened(int folder, const char *path, int flags, mode_t mode);

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static int is_watched(const char *path) {
    size_t length = watched ? strlen(watched) : 0;
    return length && !strncmp(path, watched, length) && (path[length] == '/' || !path[length]);
}

/* A descriptor's path as the kernel knows it; false where it has none. */
static int path_of(int fd, char path[PATH]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

static int is_watched_fd(int fd) {
    char path[PATH];
    return watched && fd >= 3 && path_of(fd, path) && is_watched(path);
}

/* A path as the kernel sees it, from the folder that it is relative to. */
static void absolute(char to[2 * PATH], int folder, const char *path) {
    char base[PATH] = "";
    if (path[0] != '/' && folder != AT_FDCWD) path_of(folder, base);
    if (path[0] != '/' && folder == AT_FDCWD && !getcwd(base, sizeof base)) base[0] = 0;
    snprintf(to, 2 * PATH, "%s%s%s", base, base[0] ? "/" : "", path);
}

static int is_watched_path(int folder, const char *path) {
    char whole[2 * PATH];
    if (!watched) return 0;
    absolute(whole, folder, path);
    return is_watched(whole);
}

#define MODE                                     \
    mode_t mode = 0;                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {       \
        va_list rest;                            \
        va_start(rest, flags);                   \
        mode = va_arg(rest, mode_t);             \
        va_end(rest);                            \
    }

int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t from) {
    return pwrite64(fd, bytes, count, from);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t from) {
    return pwritev64(fd, parts, count, from);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
