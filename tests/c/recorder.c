/* Records what a process does to the files of one folder, for tests/e2e/power to replay up to any point.
 *
 * Preloaded (LD_PRELOAD). MUBROKER_RECORD_FOLDER is the folder, without links in its path; the records go
 * to the file MUBROKER_RECORD_TRACE, outside of it.
 *
 * A call that changes a file or folder is made, and its record written, under one lock: the trace has one
 * order, and it is the kernel's. A sync is two records, its call between them without the lock: it covers
 * what stands before its beginning. What is sent on sockets is recorded in the same order. What could
 * change a file in a way that this can't follow is recorded as unsupported, and fails the replay.
 *
 * The calls are made as system calls, so that nothing has to be looked up, whoever calls first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* tests/e2e/power/trace.rs knows the same numbers. */
enum kind {
    OPENED = 1,      /* ino, a: flags; path */
    WRITTEN = 2,     /* ino, a: offset; bytes */
    TRUNCATED = 3,   /* ino, a: size */
    ZEROED = 4,      /* ino, a: offset, b: length; never beyond the end */
    RENAMED = 5,     /* from NUL to */
    LINKED = 6,      /* from NUL to */
    UNLINKED = 7,    /* path */
    MADE = 8,        /* ino; path of a folder */
    REMOVED = 9,     /* path of a folder */
    SYNC_BEGUN = 10, /* ino, a: the sync's number, b: 0 fsync, 1 fdatasync */
    SYNC_ENDED = 11, /* ino, a: the sync's number; only if it succeeded */
    RANGE = 12,      /* ino: sync_file_range, which promises nothing */
    SENT = 13,       /* the socket's ino; bytes */
    UNSUPPORTED = 14 /* the call's name */
};

struct record {
    uint32_t kind, len;
    uint64_t ino, a, b;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_len;
static int trace = -1;
static uint64_t syncs;

__attribute__((constructor)) static void begin(void)
{
    const char *to = getenv("MUBROKER_RECORD_TRACE"), *of = getenv("MUBROKER_RECORD_FOLDER");
    if (!to || !of || strlen(of) >= sizeof folder)
        abort();
    folder_len = strlen(strcpy(folder, of));
    trace = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (trace < 0)
        abort();
    /* A child would be a second order. */
    unsetenv("LD_PRELOAD");
}

/* No thread is in the middle of a record when the process ends, unless it is killed. */
__attribute__((destructor)) static void end(void)
{
    pthread_mutex_lock(&lock);
}

static void record(enum kind kind, uint64_t ino, uint64_t a, uint64_t b, const void *data, size_t len)
{
    struct record head = { kind, (uint32_t)len, ino, a, b };
    struct iovec parts[2] = { { &head, sizeof head }, { (void *)data, len } };
    int saved = errno;
    if (syscall(SYS_writev, trace, parts, 2) != (long)(sizeof head + len))
        abort();
    errno = saved;
}

static void record_path(enum kind kind, uint64_t ino, uint64_t a, const char *path)
{
    record(kind, ino, a, 0, path, strlen(path));
}

static void unsupported(const char *name)
{
    pthread_mutex_lock(&lock);
    record_path(UNSUPPORTED, 0, 0, name);
    pthread_mutex_unlock(&lock);
}

static int is_inside(const char *path)
{
    return !strncmp(path, folder, folder_len) && (path[folder_len] == '/' || !path[folder_len]);
}

/* Where a descriptor points to. */
static int path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (len < 0)
        return 0;
    path[len] = 0;
    return 1;
}

/* Is this one of the folder's files (or folders)? Asked without the lock: signal handlers write to pipes. */
static int is_recorded(int fd, struct stat *st)
{
    char path[PATH_MAX];
    int saved = errno;
    int yes = trace >= 0 && !fstat(fd, st) && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
        && path_of(fd, path) && is_inside(path);
    errno = saved;
    return yes;
}

/* The path without a relative start; is it inside? */
static int resolve(int dir, const char *path, char *out)
{
    int saved = errno, yes = 0;
    char base[PATH_MAX];
    if (path[0] == '/')
        yes = snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
    else if (dir == AT_FDCWD ? getcwd(base, sizeof base) != NULL : path_of(dir, base))
        yes = snprintf(out, PATH_MAX, "%s/%s", base, path) < PATH_MAX;
    errno = saved;
    return yes && trace >= 0 && is_inside(out);
}

/* ---- files ---------------------------------------------------------------------------------------- */

static int do_open(int dir, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    if (!(flags & (O_CREAT | O_TRUNC)) || !resolve(dir, path, full))
        return (int)syscall(SYS_openat, dir, path, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE)
        unsupported("O_TMPFILE");
    pthread_mutex_lock(&lock);
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0 && !fstat(fd, &st)) {
        record_path(OPENED, st.st_ino, (uint64_t)flags, full);
        if (flags & O_TRUNC)
            record(TRUNCATED, st.st_ino, 0, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                         \
    int name(const char *path, int flags, ...)             \
    {                                                      \
        va_list rest;                                      \
        va_start(rest, flags);                             \
        mode_t mode = mode_of(flags, rest);                \
        va_end(rest);                                      \
        return do_open(AT_FDCWD, path, flags, mode);       \
    }
#define OPENAT(name)                                       \
    int name(int dir, const char *path, int flags, ...)    \
    {                                                      \
        va_list rest;                                      \
        va_start(rest, flags);                             \
        mode_t mode = mode_of(flags, rest);                \
        va_end(rest);                                      \
        return do_open(dir, path, flags, mode);            \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Reads what was just copied into a file, and records it as written. */
static void record_copied(uint64_t ino, int from, off_t at, off_t to, size_t len)
{
    char *bytes = malloc(len);
    if (!bytes || syscall(SYS_pread64, from, bytes, len, at) != (long)len)
        abort();
    record(WRITTEN, ino, (uint64_t)to, 0, bytes, len);
    free(bytes);
}

static void record_parts(uint64_t ino, uint64_t at, const struct iovec *parts, int count, ssize_t len)
{
    for (int i = 0; i < count && len > 0; i++) {
        size_t part = parts[i].iov_len < (size_t)len ? parts[i].iov_len : (size_t)len;
        record(WRITTEN, ino, at, 0, parts[i].iov_base, part);
        at += part;
        len -= (ssize_t)part;
    }
}

static int is_socket(int fd, struct stat *st)
{
    int saved = errno, yes = !fstat(fd, st) && S_ISSOCK(st->st_mode);
    errno = saved;
    return yes;
}

/* A message into a socket. One byte is a signal handler's, which may have interrupted who has the lock. */
static ssize_t do_send(int fd, const struct msghdr *message, int flags)
{
    struct stat st;
    size_t len = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        len += message->msg_iov[i].iov_len;
    if (trace < 0 || len <= 1 || !is_socket(fd, &st))
        return syscall(SYS_sendmsg, fd, message, flags);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_sendmsg, fd, message, flags);
    ssize_t left = done;
    for (size_t i = 0; left > 0; i++) {
        size_t part = message->msg_iov[i].iov_len;
        part = part < (size_t)left ? part : (size_t)left;
        record(SENT, st.st_ino, 0, 0, message->msg_iov[i].iov_base, part);
        left -= (ssize_t)part;
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct stat st;
    if (is_socket(fd, &st)) {
        struct msghdr message = { .msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count };
        return do_send(fd, &message, 0);
    }
    if (!is_recorded(fd, &st))
        return syscall(SYS_writev, fd, parts, count);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_writev, fd, parts, count);
    if (done > 0)
        record_parts(st.st_ino, (uint64_t)(lseek(fd, 0, SEEK_CUR) - done), parts, count, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    struct iovec part = { (void *)bytes, len };
    return writev(fd, &part, 1);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    struct stat st;
    if (!is_recorded(fd, &st))
        return syscall(SYS_pwritev, fd, parts, count, at, 0);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwritev, fd, parts, count, at, 0);
    record_parts(st.st_ino, (uint64_t)at, parts, count, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return pwritev64(fd, parts, count, at); }

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    struct iovec part = { (void *)bytes, len };
    return pwritev64(fd, &part, 1, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) { return pwrite64(fd, bytes, len, at); }

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t len, unsigned flags)
{
    struct stat st;
    if (!is_recorded(to, &st))
        return syscall(SYS_copy_file_range, from, at, to, to_at, len, flags);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_copy_file_range, from, at, to, to_at, len, flags);
    if (done > 0)
        record_copied(st.st_ino, from, (at ? *at : lseek(from, 0, SEEK_CUR)) - done,
                      (to_at ? *to_at : lseek(to, 0, SEEK_CUR)) - done, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t len)
{
    struct stat st;
    if (!is_recorded(to, &st))
        return syscall(SYS_sendfile, to, from, at, len);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_sendfile, to, from, at, len);
    if (done > 0)
        record_copied(st.st_ino, from, (at ? *at : lseek(from, 0, SEEK_CUR)) - done,
                      lseek(to, 0, SEEK_CUR) - done, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t sendfile(int to, int from, off_t *at, size_t len) { return sendfile64(to, from, at, len); }

ssize_t splice(int from, off64_t *at, int to, off64_t *to_at, size_t len, unsigned flags)
{
    struct stat st;
    if (is_recorded(to, &st))
        unsupported("splice");
    return syscall(SYS_splice, from, at, to, to_at, len, flags);
}

void *mmap64(void *where, size_t len, int protection, int flags, int fd, off64_t at)
{
    struct stat st;
    if (fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE && is_recorded(fd, &st))
        unsupported("mmap");
    return (void *)syscall(SYS_mmap, where, len, protection, flags, fd, at);
}

void *mmap(void *where, size_t len, int protection, int flags, int fd, off_t at)
{
    return mmap64(where, len, protection, flags, fd, at);
}

int ftruncate64(int fd, off64_t size)
{
    struct stat st;
    if (!is_recorded(fd, &st))
        return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_ftruncate, fd, size);
    if (!failed)
        record(TRUNCATED, st.st_ino, (uint64_t)size, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int truncate(const char *path, off_t size)
{
    char full[PATH_MAX];
    if (resolve(AT_FDCWD, path, full))
        unsupported("truncate");
    return (int)syscall(SYS_truncate, path, size);
}

int truncate64(const char *path, off64_t size) { return truncate(path, size); }

int fallocate64(int fd, int mode, off64_t at, off64_t len)
{
    struct stat st;
    if (!is_recorded(fd, &st))
        return (int)syscall(SYS_fallocate, fd, mode, at, len);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_fallocate, fd, mode, at, len);
    /* The size as it was under the lock. */
    if (!failed && mode == 0 && !fstat(fd, &st))
        record(TRUNCATED, st.st_ino, (uint64_t)st.st_size, 0, "", 0);
    else if (!failed && mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
        record(ZEROED, st.st_ino, (uint64_t)at, (uint64_t)len, "", 0);
    else if (!failed && mode != FALLOC_FL_KEEP_SIZE)
        record_path(UNSUPPORTED, 0, 0, "fallocate");
    pthread_mutex_unlock(&lock);
    return failed;
}

int fallocate(int fd, int mode, off_t at, off_t len) { return fallocate64(fd, mode, at, len); }
int posix_fallocate(int fd, off_t at, off_t len) { return fallocate64(fd, 0, at, len) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t len) { return posix_fallocate(fd, at, len); }

/* ---- syncs ---------------------------------------------------------------------------------------- */

static int do_sync(int fd, uint64_t is_data)
{
    struct stat st;
    long call = is_data ? SYS_fdatasync : SYS_fsync;
    if (!is_recorded(fd, &st))
        return (int)syscall(call, fd);
    pthread_mutex_lock(&lock);
    uint64_t number = ++syncs;
    record(SYNC_BEGUN, st.st_ino, number, is_data, "", 0);
    pthread_mutex_unlock(&lock);
    int failed = (int)syscall(call, fd);
    if (!failed) {
        pthread_mutex_lock(&lock);
        record(SYNC_ENDED, st.st_ino, number, 0, "", 0);
        pthread_mutex_unlock(&lock);
    }
    return failed;
}

int fsync(int fd) { return do_sync(fd, 0); }
int fdatasync(int fd) { return do_sync(fd, 1); }

int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags)
{
    struct stat st;
    if (is_recorded(fd, &st)) {
        pthread_mutex_lock(&lock);
        record(RANGE, st.st_ino, (uint64_t)at, (uint64_t)len, "", 0);
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_sync_file_range, fd, at, len, flags);
}

void sync(void)
{
    unsupported("sync");
    syscall(SYS_sync);
}

int syncfs(int fd)
{
    unsupported("syncfs");
    return (int)syscall(SYS_syncfs, fd);
}

/* ---- folders -------------------------------------------------------------------------------------- */

static int do_two(enum kind kind, int dir, const char *from, int to_dir, const char *to, int flags)
{
    char both[2 * PATH_MAX], target[PATH_MAX];
    int inside = resolve(dir, from, both), to_inside = resolve(to_dir, to, target);
    long call = kind == LINKED ? SYS_linkat : SYS_renameat2;
    if (inside != to_inside || (inside && flags))
        unsupported(kind == LINKED ? "a link over the folder's edge" : "a rename over the folder's edge");
    if (!inside)
        return (int)syscall(call, dir, from, to_dir, to, flags);
    size_t len = strlen(both) + 1;
    strcpy(both + len, target);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(call, dir, from, to_dir, to, flags);
    if (!failed)
        record(kind, 0, 0, 0, both, len + strlen(target));
    pthread_mutex_unlock(&lock);
    return failed;
}

int rename(const char *from, const char *to) { return do_two(RENAMED, AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int dir, const char *from, int to_dir, const char *to) { return do_two(RENAMED, dir, from, to_dir, to, 0); }
int renameat2(int dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return do_two(RENAMED, dir, from, to_dir, to, (int)flags);
}
int link(const char *from, const char *to) { return do_two(LINKED, AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int dir, const char *from, int to_dir, const char *to, int flags)
{
    return do_two(LINKED, dir, from, to_dir, to, flags);
}

int symlinkat(const char *to, int dir, const char *path)
{
    char full[PATH_MAX];
    if (resolve(dir, path, full))
        unsupported("symlink");
    return (int)syscall(SYS_symlinkat, to, dir, path);
}

int symlink(const char *to, const char *path) { return symlinkat(to, AT_FDCWD, path); }

int unlinkat(int dir, const char *path, int flags)
{
    char full[PATH_MAX];
    if (!resolve(dir, path, full))
        return (int)syscall(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (!failed)
        record_path(flags & AT_REMOVEDIR ? REMOVED : UNLINKED, 0, 0, full);
    pthread_mutex_unlock(&lock);
    return failed;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dir, const char *path, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    if (!resolve(dir, path, full))
        return (int)syscall(SYS_mkdirat, dir, path, mode);
    pthread_mutex_lock(&lock);
    int failed = (int)syscall(SYS_mkdirat, dir, path, mode);
    if (!failed && !stat(full, &st))
        record_path(MADE, st.st_ino, 0, full);
    pthread_mutex_unlock(&lock);
    return failed;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- sockets -------------------------------------------------------------------------------------- */

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) { return do_send(fd, message, flags); }

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
    struct iovec part = { (void *)bytes, len };
    struct msghdr message = {
        .msg_name = (void *)to, .msg_namelen = to ? to_len : 0, .msg_iov = &part, .msg_iovlen = 1
    };
    return do_send(fd, &message, flags);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags) { return sendto(fd, bytes, len, flags, NULL, 0); }
