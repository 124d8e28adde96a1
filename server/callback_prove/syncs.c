/* For LD_PRELOAD: appends a line to the file SYNC_LOG for each sync of a file that has returned: the size that the file
 * had when the sync began, so what is on disk for certain, and the file's path. The calls are made past the C library,
 * so that nothing stands between them and their lines. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int log_fd = -1;

__attribute__((constructor)) static void open_log(void) {
    const char *path = getenv("SYNC_LOG");
    if (path) log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) {
        perror("SYNC_LOG");
        abort();
    }
}

static int logged(long number, int fd) {
    struct stat before;
    if (fstat(fd, &before) != 0) return -1;
    if (syscall(number, fd) != 0) return -1;
    char link[64], path[PATH_MAX], line[PATH_MAX + 32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    int size = snprintf(line, sizeof line, "%lld %.*s\n", (long long)before.st_size, (int)(length < 0 ? 0 : length), path);
    if (write(log_fd, line, size) != size) abort(); /* one call, so one line, whichever threads sync */
    return 0;
}

int fsync(int fd) { return logged(SYS_fsync, fd); }

int fdatasync(int fd) { return logged(SYS_fdatasync, fd); }
