/* A disk that fails, or is slow, or full, when the file $DISK_CONTROL says so:
 *
 *   ok         as if this were not here
 *   eio        fsync, fdatasync and sync_file_range fail with EIO
 *   slow <ms>  they take so much longer
 *   enospc     writes, longer files and new names fail with ENOSPC
 *
 * It concerns the files under $DISK_DIR alone. The control is read in each call; whoever changes it
 * renames another file to its name, so a call sees the one or the other.
 */
#include "watched.h"

#include <time.h>

enum mode { OK, EIO_OF_SYNC, SLOW, FULL };

static const char *control;

__attribute__((constructor)) static void begin(void) {
    watched = getenv("DISK_DIR");
    control = getenv("DISK_CONTROL");
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
    if (!is_watched_fd(fd)) return 0;
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
    return no_room(is_watched_fd(fd)) ? -1 : REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return no_room(is_watched_fd(fd)) ? -1 : REAL(writev)(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t from) {
    return no_room(is_watched_fd(fd)) ? -1 : REAL(pwrite64)(fd, bytes, count, from);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t from) {
    return no_room(is_watched_fd(fd)) ? -1 : REAL(pwritev64)(fd, parts, count, from);
}

/* A file that gets shorter needs no room. */
int ftruncate64(int fd, off64_t length) {
    struct stat about;
    int is_ours = is_watched_fd(fd) && !fstat(fd, &about) && length > about.st_size;
    return no_room(is_ours) ? -1 : REAL(ftruncate64)(fd, length);
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    struct stat about;
    int is_new = flags & O_CREAT && is_watched_path(folder, path) && fstatat(folder, path, &about, 0);
    return no_room(is_new) ? -1 : REAL(openat64)(folder, path, flags, mode);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    if (no_room(is_watched_path(to_folder, to))) return -1;
    return REAL(renameat)(from_folder, from, to_folder, to);
}
