/* Keeps an image of what a power cut would leave of a folder: only what was synced.
 *
 * Preloaded into a process (LD_PRELOAD), it watches the files under $POWERCUT_DIR and writes to
 * $POWERCUT_IMAGE, which must be on the same file system:
 *
 *   files/<inode>   a file's bytes as of its last fsync or fdatasync
 *   pending/<inode> a sync that was under way, to be finished first
 *   lists/<inode>   a folder's names as of its last fsync: a line "<inode> <d or f> <name>" each
 *   kept/<n>        hard links to removed files, so that no inode is used twice
 *   writes/order    what was written and synced, one after the other: inode, offset and length, u64 each;
 *                   length 0: this inode was synced. It tells which writes a torn one may be.
 *
 * Whoever ends the process puts the folder together again from the image. What was there when the
 * process started counts as synced. sync_file_range makes nothing durable. With $POWERCUT_LIES set,
 * fsync and fdatasync succeed and do nothing: a disk that lies.
 *
 * One lock serves all: a write waits while a sync copies, so the image never holds more than was
 * promised. Nothing here is meant to be fast.
 */
#include "watched.h"

#include <dirent.h>
#include <pthread.h>

struct range {
    off_t from, to;
    struct range *next;
};

/* A file with changes that are not synced. */
struct dirty {
    ino_t inode;
    off_t shortest; /* the least length since the last sync; -1: never cut */
    struct range *ranges;
    struct dirty *next;
};

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct dirty *dirty_files;
static const char *image;
static int lies;
static unsigned kept;
static int order = -1;

static void broken(const char *what) {
    fprintf(stderr, "powercut: %s: %s\n", what, strerror(errno));
    abort();
}

/* Whether a descriptor is of a file (or folder) that is watched, and what it is. */
static int watched_fd(int fd, struct stat *about, mode_t kind) {
    return is_watched_fd(fd) && !fstat(fd, about) && (about->st_mode & S_IFMT) == kind;
}

static struct dirty *dirty_of(ino_t inode) {
    for (struct dirty *at = dirty_files; at; at = at->next)
        if (at->inode == inode) return at;
    struct dirty *made = calloc(1, sizeof *made);
    *made = (struct dirty){inode, -1, NULL, dirty_files};
    return dirty_files = made;
}

static void note_write(ino_t inode, off_t from, size_t count) {
    struct dirty *file = dirty_of(inode);
    struct range *last = file->ranges;
    if (last && last->to == from) {
        last->to += count;
        return;
    }
    struct range *made = malloc(sizeof *made);
    *made = (struct range){from, from + count, last};
    file->ranges = made;
}

static void note_length(ino_t inode, off_t length) {
    struct dirty *file = dirty_of(inode);
    if (file->shortest < 0 || length < file->shortest) file->shortest = length;
}

/* Writes down what comes after what. */
static void in_order(ino_t inode, off_t from, size_t count) {
    unsigned long line[3] = {inode, from, count};
    if (order >= 0 && REAL(write)(order, line, sizeof line) != sizeof line) broken("write the order");
}

static void copy(int from, off_t at, int to, off_t place, off_t count) {
    static char buffer[1 << 16];
    while (count > 0) {
        size_t want = count < (off_t)sizeof buffer ? (size_t)count : sizeof buffer;
        ssize_t got = pread(from, buffer, want, at);
        if (got <= 0) broken("read what is to be copied");
        if (REAL(pwrite64)(to, buffer, got, place) != got) broken("write the image");
        at += got, place += got, count -= got;
    }
}

static void record(int to, int from, off_t at, off_t count) {
    off_t head[2] = {at, count}, end = lseek(to, 0, SEEK_END);
    if (REAL(pwrite64)(to, head, sizeof head, end) != sizeof head) broken("write the image");
    if (at >= 0) copy(from, at, to, end + sizeof head, count);
}

static void apply(int pending, ino_t inode) {
    char name[PATH];
    snprintf(name, sizeof name, "%s/files/%lu", image, (unsigned long)inode);
    int to = REAL(open64)(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (to < 0) broken("open the image");
    off_t head[2], at = 0;
    while (pread(pending, head, sizeof head, at) == sizeof head) {
        at += sizeof head;
        if (head[0] < 0) {
            if (REAL(ftruncate64)(to, head[1])) broken("cut the image");
        } else {
            copy(pending, at, to, head[0], head[1]);
            at += head[1];
        }
    }
    close(to);
}

/* Brings a file's image up to the file, all of it or nothing: what is to be changed is written to
 * pending/<inode> first, which whoever rolls back applies. A record is offset i64, length i64, bytes;
 * a negative offset cuts the file to that length. */
static void sync_file(int fd, const struct stat *about) {
    char pending[PATH], temporary[PATH], self[64];
    unsigned long inode = about->st_ino;
    snprintf(pending, sizeof pending, "%s/pending/%lu", image, inode);
    snprintf(temporary, sizeof temporary, "%s/pending/%lu.new", image, inode);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    struct dirty *file = dirty_of(inode);
    int from = REAL(open64)(self, O_RDONLY | O_CLOEXEC);
    int to = REAL(open64)(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) broken("open the image");
    if (file->shortest >= 0) record(to, from, -1, file->shortest);
    record(to, from, -1, about->st_size);
    while (file->ranges) {
        struct range *range = file->ranges;
        off_t end = range->to < about->st_size ? range->to : about->st_size;
        if (range->from < end) record(to, from, range->from, end - range->from);
        file->ranges = range->next;
        free(range);
    }
    file->shortest = -1;
    close(from);
    if (REAL(rename)(temporary, pending)) broken("name what is pending");
    apply(to, inode);
    close(to);
    in_order(inode, 0, 0);
    REAL(unlink)(pending);
}

/* Writes down the names in a folder. */
static void sync_folder(const char *path, ino_t inode) {
    char name[PATH], temporary[PATH];
    snprintf(name, sizeof name, "%s/lists/%lu", image, (unsigned long)inode);
    snprintf(temporary, sizeof temporary, "%s/lists/%lu.new", image, (unsigned long)inode);
    DIR *folder = opendir(path);
    FILE *list = fopen(temporary, "we");
    if (!folder || !list) broken("list a folder");
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char kind = entry->d_type == DT_DIR ? 'd' : 'f';
        fprintf(list, "%lu %c %s\n", (unsigned long)entry->d_ino, kind, entry->d_name);
    }
    fclose(list);
    closedir(folder);
    if (REAL(rename)(temporary, name)) broken("list a folder");
}

/* What is there when the process starts is on the disk. */
static void take_over(const char *path) {
    struct stat about;
    if (lstat(path, &about)) return;
    if (S_ISDIR(about.st_mode)) {
        sync_folder(path, about.st_ino);
        DIR *folder = opendir(path);
        for (struct dirent *entry; folder && (entry = readdir(folder));) {
            char inner[PATH];
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
            if (snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) < PATH) take_over(inner);
        }
        if (folder) closedir(folder);
    } else if (S_ISREG(about.st_mode)) {
        int fd = REAL(open64)(path, O_RDONLY | O_CLOEXEC);
        note_write(about.st_ino, 0, about.st_size);
        if (fd >= 0) sync_file(fd, &about), close(fd);
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *parts[] = {"", "/files", "/pending", "/lists", "/kept", "/writes"};
    char path[PATH];
    watched = getenv("POWERCUT_DIR");
    image = getenv("POWERCUT_IMAGE");
    lies = getenv("POWERCUT_LIES") != NULL;
    if (!watched || !image) {
        watched = NULL;
        return;
    }
    for (int at = 0; at < 6; at++) {
        snprintf(path, sizeof path, "%s%s", image, parts[at]);
        if (mkdir(path, 0700) && errno != EEXIST) broken("make the image");
    }
    snprintf(path, sizeof path, "%s/writes/order", image);
    order = REAL(open64)(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (order < 0) broken("make the order of writes");
    take_over(watched);
}

/* Keeps a file that is about to lose its name. */
static void keep(const char *path) {
    char name[PATH];
    struct stat about;
    if (!is_watched(path) || lstat(path, &about) || !S_ISREG(about.st_mode)) return;
    snprintf(name, sizeof name, "%s/kept/%d-%u", image, getpid(), kept++);
    (void)!link(path, name);
}

#define LOCKED(type, work)              \
    pthread_mutex_lock(&lock);          \
    type result = (work);               \
    int failed = errno;                 \
    pthread_mutex_unlock(&lock);        \
    errno = failed;                     \
    return result

static ssize_t noted(int fd, const struct stat *about, off_t from, ssize_t written) {
    (void)fd;
    if (written > 0) {
        note_write(about->st_ino, from, written);
        in_order(about->st_ino, from, written);
    }
    return written;
}

static off_t place(int fd, const struct stat *about) {
    return fcntl(fd, F_GETFL) & O_APPEND ? about->st_size : lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    struct stat about;
    if (!watched_fd(fd, &about, S_IFREG)) return REAL(write)(fd, bytes, count);
    pthread_mutex_lock(&lock);
    fstat(fd, &about);
    off_t from = place(fd, &about);
    ssize_t written = noted(fd, &about, from, REAL(write)(fd, bytes, count));
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat about;
    if (!watched_fd(fd, &about, S_IFREG)) return REAL(writev)(fd, parts, count);
    pthread_mutex_lock(&lock);
    fstat(fd, &about);
    off_t from = place(fd, &about);
    ssize_t written = noted(fd, &about, from, REAL(writev)(fd, parts, count));
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t from) {
    struct stat about;
    if (!watched_fd(fd, &about, S_IFREG)) return REAL(pwrite64)(fd, bytes, count, from);
    LOCKED(ssize_t, noted(fd, &about, from, REAL(pwrite64)(fd, bytes, count, from)));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t from) {
    struct stat about;
    if (!watched_fd(fd, &about, S_IFREG)) return REAL(pwritev64)(fd, parts, count, from);
    LOCKED(ssize_t, noted(fd, &about, from, REAL(pwritev64)(fd, parts, count, from)));
}

int ftruncate64(int fd, off64_t length) {
    struct stat about;
    if (!watched_fd(fd, &about, S_IFREG)) return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&lock);
    note_length(about.st_ino, length);
    int result = REAL(ftruncate64)(fd, length);
    pthread_mutex_unlock(&lock);
    return result;
}

static int synced(int fd, int data_only) {
    struct stat about;
    char path[PATH];
    int is_file = watched_fd(fd, &about, S_IFREG);
    int is_folder = !is_file && watched_fd(fd, &about, S_IFDIR);
    if (!is_file && !is_folder) return data_only ? REAL(fdatasync)(fd) : REAL(fsync)(fd);
    if (lies) return 0;
    pthread_mutex_lock(&lock);
    fstat(fd, &about);
    if (is_file) {
        sync_file(fd, &about);
    } else {
        path_of(fd, path);
        sync_folder(path, about.st_ino);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return synced(fd, 0); }
int fdatasync(int fd) { return synced(fd, 1); }

static int opened(int folder, const char *path, int flags, mode_t mode) {
    struct stat about;
    if (flags & O_TRUNC && is_watched_path(folder, path)) {
        pthread_mutex_lock(&lock);
        if (!fstatat(folder, path, &about, AT_SYMLINK_NOFOLLOW)) note_length(about.st_ino, 0);
        pthread_mutex_unlock(&lock);
    }
    return REAL(openat64)(folder, path, flags, mode);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    char whole[2 * PATH];
    pthread_mutex_lock(&lock);
    if (watched) absolute(whole, to_folder, to), keep(whole);
    int result = REAL(renameat)(from_folder, from, to_folder, to);
    int failed = errno;
    pthread_mutex_unlock(&lock);
    errno = failed;
    return result;
}

int unlinkat(int folder, const char *path, int flags) {
    char whole[2 * PATH];
    pthread_mutex_lock(&lock);
    if (watched && !(flags & AT_REMOVEDIR)) absolute(whole, folder, path), keep(whole);
    int result = REAL(unlinkat)(folder, path, flags);
    int failed = errno;
    pthread_mutex_unlock(&lock);
    errno = failed;
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
