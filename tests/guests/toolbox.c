/* What a test wants a guest to do, by the first argument; the exit code is the errno it met. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int failed(const char *what) {
    int number = errno;
    fprintf(stderr, "%s: %s\n", what, strerror(number));
    return number ? number : 1;
}

static int copy(int from, int to) {
    char buffer[65536];
    ssize_t count;
    while ((count = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, count) != count) return failed("write");
    return count < 0 ? failed("read") : 0;
}

static int list(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) return failed(path);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) puts(entry->d_name);
    closedir(folder);
    return 0;
}

static int put(const char *path, const char *text, int flags) {
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
    if (fd < 0) return failed(path);
    size_t size = strlen(text);
    if (write(fd, text, size) != (ssize_t)size) return failed(path);
    return close(fd) ? failed(path) : 0;
}

/* Fills `path` with `mebibytes` of zeros. */
static int fill(const char *path, long mebibytes) {
    static char zeros[1 << 20];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return failed(path);
    for (long i = 0; i < mebibytes; i++)
        if (write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros) return failed(path);
    return close(fd) ? failed(path) : 0;
}

static int flood(long lines) {
    for (long i = 0; i < lines; i++)
        if (printf("%08ld the quick brown fox jumps over the lazy dog\n", i) < 0) return failed("stdout");
    return fflush(stdout) ? failed("stdout") : 0;
}

static int wait_for(double seconds) {
    struct timespec span = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    puts("ready");
    fflush(stdout);
    return nanosleep(&span, NULL) ? failed("nanosleep") : 0;
}

static int clocks(void) {
    struct timespec wall, before, after;
    if (clock_gettime(CLOCK_REALTIME, &wall) || clock_gettime(CLOCK_MONOTONIC, &before))
        return failed("clock_gettime");
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("%lld %s\n", (long long)wall.tv_sec,
           after.tv_sec > before.tv_sec || after.tv_nsec >= before.tv_nsec ? "forward" : "back");
    return 0;
}

static int random_bytes(void) {
    unsigned char bytes[16];
    if (getentropy(bytes, sizeof bytes)) return failed("getentropy");
    for (size_t i = 0; i < sizeof bytes; i++) printf("%02x", bytes[i]);
    puts("");
    return 0;
}

static int status(const char *path) {
    struct stat found;
    if (lstat(path, &found)) return failed(path);
    printf("%s %lld\n", S_ISDIR(found.st_mode) ? "directory" : S_ISLNK(found.st_mode) ? "link" : "file",
           (long long)found.st_size);
    return 0;
}

/* Counts lines "tick N" for ever, ten a second, on both outputs in turn. */
static int tick(void) {
    struct timespec tenth = {0, 100000000};
    for (long i = 0;; i++) {
        fprintf(i % 2 ? stderr : stdout, "tick %ld\n", i);
        fflush(stdout);
        nanosleep(&tenth, NULL);
    }
}

/* Computes for a while; prints a checksum and the milliseconds it took. */
static int compute(long rounds) {
    unsigned long long x = 88172645463325252ULL, sum = 0;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (long i = 0; i < rounds * 1000000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        sum += x;
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("%llx %.3f\n", sum, (after.tv_sec - before.tv_sec) * 1e3 + (after.tv_nsec - before.tv_nsec) / 1e6);
    return 0;
}

int main(int count, char **words) {
    const char *verb = count > 1 ? words[1] : "", *a = count > 2 ? words[2] : "", *b = count > 3 ? words[3] : "";
    char here[4096];
    if (!strcmp(verb, "cat")) {
        int fd = count > 2 ? open(a, O_RDONLY) : 0;
        return fd < 0 ? failed(a) : copy(fd, 1);
    }
    if (!strcmp(verb, "list")) return list(a);
    if (!strcmp(verb, "put")) return put(a, b, O_TRUNC);
    if (!strcmp(verb, "append")) return put(a, b, O_APPEND);
    if (!strcmp(verb, "fill")) return fill(a, atol(b));
    if (!strcmp(verb, "mkdir")) return mkdir(a, 0755) ? failed(a) : 0;
    if (!strcmp(verb, "rmdir")) return rmdir(a) ? failed(a) : 0;
    if (!strcmp(verb, "remove")) return unlink(a) ? failed(a) : 0;
    if (!strcmp(verb, "rename")) return rename(a, b) ? failed(a) : 0;
    if (!strcmp(verb, "symlink")) return symlink(a, b) ? failed(b) : 0;
    if (!strcmp(verb, "stat")) return status(a);
    if (!strcmp(verb, "pwd")) return getcwd(here, sizeof here) ? (puts(here), 0) : failed("getcwd");
    if (!strcmp(verb, "clocks")) return clocks();
    if (!strcmp(verb, "random")) return random_bytes();
    if (!strcmp(verb, "flood")) return flood(atol(a));
    if (!strcmp(verb, "sleep")) return wait_for(atof(a));
    if (!strcmp(verb, "tick")) return tick();
    if (!strcmp(verb, "compute")) return compute(atol(a));
    if (!strcmp(verb, "isatty")) return printf("%d %d %d\n", isatty(0), isatty(1), isatty(2)), 0;
    if (!strcmp(verb, "both")) return fputs("to stdout\n", stdout), fflush(stdout), fputs("to stderr\n", stderr), 0;
    fprintf(stderr, "toolbox: no such tool: %s\n", verb);
    return 64;
}
