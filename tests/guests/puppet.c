/* A puppet: does with WasmEdge's sockets what its stdin says, a command a line, and tells what came of it.
 *
 *   open 4|6 stream|dgram              bind FD ADDRESS PORT        listen FD BACKLOG
 *   accept FD                          connect FD ADDRESS PORT     shutdown FD r|w|rw
 *   send FD TEXT                       recv FD SIZE                read FD SIZE   write FD TEXT
 *   sendto FD ADDRESS PORT TEXT        recvfrom FD SIZE            peer FD        local FD
 *   set FD OPTION VALUE                get FD OPTION               nonblock FD    kind FD
 *   poll MILLISECONDS [rFD|wFD]…       lookup NAME [SERVICE]       close FD
 *   hoard 4|6 stream|dgram             opens until it may not and closes all of them again
 *   serve FD COUNT                     accepts, echoes until the end and closes, COUNT times
 *   visit ADDRESS PORT COUNT           connects, sends a line, reads it and closes, COUNT times
 *
 * An answer is "ok" and what there is to say, or the error's name. With -DABI=1 it speaks the first of
 * WasmEdge's ABIs (addresses of 4 or 16 bytes and their type aside), else the second (the family in
 * front, 128 bytes in all).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

#ifndef ABI
#define ABI 2
#endif

#define WASI(name) \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) extern uint32_t

typedef struct { void *at; uint32_t size; } Buffer;
typedef struct { uint16_t family; uint8_t bytes[126]; } Storage;
typedef struct { uint32_t family, size; uint8_t *data; } Sockaddr;
typedef struct Info {
    uint16_t flags; uint8_t family, type; uint32_t protocol, addrlen;
    Sockaddr *addr; char *name; uint32_t namelen; struct Info *next;
} Info;

WASI(sock_open) sock_open(int32_t family, int32_t type, uint32_t *fd);
WASI(sock_bind) sock_bind(int32_t fd, Buffer *address, uint32_t port);
WASI(sock_listen) sock_listen(int32_t fd, int32_t backlog);
WASI(sock_connect) sock_connect(int32_t fd, Buffer *address, uint32_t port);
WASI(sock_recv) sock_receive(int32_t fd, Buffer *to, uint32_t count, uint32_t flags, uint32_t *size, uint16_t *said);
WASI(sock_recv_from) sock_recv_from(int32_t fd, Buffer *to, uint32_t count, Buffer *address, uint32_t flags,
    uint32_t *port, uint32_t *size, uint16_t *said);
WASI(sock_send) sock_transmit(int32_t fd, Buffer *from, uint32_t count, uint32_t flags, uint32_t *size);
WASI(sock_send_to) sock_send_to(int32_t fd, Buffer *from, uint32_t count, Buffer *address, uint32_t port,
    uint32_t flags, uint32_t *size);
WASI(sock_shutdown) sock_close_half(int32_t fd, uint32_t how);
WASI(sock_getsockopt) sock_getsockopt(int32_t fd, int32_t level, int32_t name, void *value, uint32_t *size);
WASI(sock_setsockopt) sock_setsockopt(int32_t fd, int32_t level, int32_t name, void *value, uint32_t size);
WASI(sock_getaddrinfo) sock_getaddrinfo(const char *node, uint32_t node_size, const char *service,
    uint32_t service_size, Info *hints, Info **results, uint32_t most, uint32_t *count);
#if ABI == 1
WASI(sock_accept) sock_take(int32_t fd, uint32_t *taken);
WASI(sock_getlocaladdr) sock_getlocaladdr(int32_t fd, Buffer *address, uint32_t *type, uint32_t *port);
WASI(sock_getpeeraddr) sock_getpeeraddr(int32_t fd, Buffer *address, uint32_t *type, uint32_t *port);
#else
WASI(sock_accept) sock_take(int32_t fd, uint32_t flags, uint32_t *taken);
WASI(sock_getlocaladdr) sock_getlocaladdr(int32_t fd, Buffer *address, uint32_t *port);
WASI(sock_getpeeraddr) sock_getpeeraddr(int32_t fd, Buffer *address, uint32_t *port);
#endif

enum { INET4 = 1, INET6, MOST = 1 << 16 };
static char bytes[MOST + 1];
static char answer[2 * MOST];
static size_t answered;

static void say(const char *format, ...) {
    va_list values;
    va_start(values, format);
    answered += vsnprintf(answer + answered, sizeof answer - answered, format, values);
    va_end(values);
}

static const char *error_name(uint32_t error) {
    static const struct { uint32_t number; const char *name; } names[] = {
        {EACCES, "EACCES"}, {EADDRINUSE, "EADDRINUSE"}, {EADDRNOTAVAIL, "EADDRNOTAVAIL"},
        {EAFNOSUPPORT, "EAFNOSUPPORT"}, {EAGAIN, "EAGAIN"}, {EALREADY, "EALREADY"}, {EBADF, "EBADF"},
        {ECONNABORTED, "ECONNABORTED"}, {ECONNREFUSED, "ECONNREFUSED"}, {ECONNRESET, "ECONNRESET"},
        {EDESTADDRREQ, "EDESTADDRREQ"}, {EFAULT, "EFAULT"}, {EHOSTUNREACH, "EHOSTUNREACH"},
        {EINPROGRESS, "EINPROGRESS"}, {EINVAL, "EINVAL"}, {EIO, "EIO"}, {EISCONN, "EISCONN"},
        {EMFILE, "EMFILE"}, {EMSGSIZE, "EMSGSIZE"}, {ENETUNREACH, "ENETUNREACH"}, {ENFILE, "ENFILE"},
        {ENOBUFS, "ENOBUFS"}, {ENOMEM, "ENOMEM"}, {ENOPROTOOPT, "ENOPROTOOPT"}, {ENOTCONN, "ENOTCONN"},
        {ENOTSOCK, "ENOTSOCK"}, {ENOTSUP, "ENOTSUP"}, {EPERM, "EPERM"}, {EPIPE, "EPIPE"},
        {ETIMEDOUT, "ETIMEDOUT"}, {77, "EAIADDRFAMILY"}, {78, "EAIAGAIN"}, {79, "EAIBADFLAG"},
        {80, "EAIFAIL"}, {81, "EAIFAMILY"}, {82, "EAIMEMORY"}, {83, "EAINODATA"}, {84, "EAINONAME"},
        {85, "EAISERVICE"}, {86, "EAISOCKTYPE"}, {87, "EAISYSTEM"},
    };
    static char other[24];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == error) return names[i].name;
    snprintf(other, sizeof other, "error %u", error);
    return other;
}

static uint32_t parse(const char *text, Storage *storage) {
    int six = strchr(text, ':') != NULL;
    storage->family = six ? INET6 : INET4;
    return inet_pton(six ? AF_INET6 : AF_INET, text, storage->bytes) == 1 ? (six ? 16 : 4) : 0;
}

/* The form that a call with an address takes in this ABI. */
static Buffer wrap(Storage *storage, uint32_t size) {
    return ABI == 1 ? (Buffer){storage->bytes, size} : (Buffer){storage, sizeof *storage};
}

static void say_address(uint16_t family, const uint8_t *address, uint32_t port) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(family == INET6 ? AF_INET6 : AF_INET, address, text, sizeof text);
    say(" %s %u", text, port);
}

static uint32_t look_up(const char *name, const char *service) {
    enum { RESULTS = 8 };
    static uint8_t data[RESULTS][32];
    static char names[RESULTS][64];
    static Sockaddr addresses[RESULTS];
    static Info infos[RESULTS];
    Info hints = {.family = 0, .type = 2, .protocol = 1}, *first = infos;
    uint32_t count = 0;
    for (int i = 0; i < RESULTS; i++) {
        addresses[i] = (Sockaddr){0, sizeof data[i], data[i]};
        infos[i] = (Info){.addrlen = sizeof(Sockaddr), .addr = &addresses[i], .name = names[i],
            .namelen = sizeof names[i], .next = i + 1 < RESULTS ? &infos[i + 1] : NULL};
    }
    uint32_t error = sock_getaddrinfo(name, strlen(name) + 1, service, strlen(service) + 1, &hints, &first,
        RESULTS, &count);
    if (error) return error;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t family = addresses[i].family; /* the data are a sockaddr's: of IPv6 the flow is before */
        say_address(family, data[i] + (family == INET6 ? 6 : 2), data[i][0] << 8 | data[i][1]);
    }
    return 0;
}

static uint32_t wait_for(int milliseconds, char *words) {
    enum { MOST_POLLED = 64 };
    __wasi_subscription_t asked[MOST_POLLED];
    __wasi_event_t told[MOST_POLLED];
    size_t count = 0;
    memset(asked, 0, sizeof asked);
    if (milliseconds >= 0) {
        asked[count].userdata = UINT64_MAX;
        asked[count].u.tag = __WASI_EVENTTYPE_CLOCK;
        asked[count].u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
        asked[count++].u.u.clock.timeout = milliseconds * 1000000ull;
    }
    for (char *word = strtok(words, " "); word && count < MOST_POLLED; word = strtok(NULL, " ")) {
        asked[count].userdata = strtoul(word + 1, NULL, 10);
        asked[count].u.tag = *word == 'r' ? __WASI_EVENTTYPE_FD_READ : __WASI_EVENTTYPE_FD_WRITE;
        asked[count].u.u.fd_read.file_descriptor = strtoul(word + 1, NULL, 10);
        count++;
    }
    __wasi_errno_t error = __wasi_poll_oneoff(asked, told, count, &count);
    if (error) return error;
    for (size_t i = 0; i < count; i++) {
        if (told[i].userdata == UINT64_MAX) { say(" time"); continue; }
        say(" %c%llu", told[i].type == __WASI_EVENTTYPE_FD_READ ? 'r' : 'w', told[i].userdata);
        if (told[i].error) say(":%s", error_name(told[i].error));
        if (told[i].fd_readwrite.flags & 1) say(":hangup");
    }
    return 0;
}

static uint32_t take(int32_t fd, uint32_t *taken) {
#if ABI == 1
    return sock_take(fd, taken);
#else
    return sock_take(fd, 0, taken);
#endif
}

static uint32_t serve(int32_t fd, uint32_t count) {
    uint32_t taken, error;
    while (count--) {
        if ((error = take(fd, &taken))) return error;
        for (ssize_t size; (size = read(taken, bytes, MOST)) > 0;)
            if (write(taken, bytes, size) != size) break;
        close(taken);
    }
    return 0;
}

static uint32_t visit(const char *address, uint32_t port, uint32_t count) {
    Storage storage = {0};
    uint32_t fd, error, size = parse(address, &storage);
    while (count--) {
        Buffer buffer = wrap(&storage, size);
        if ((error = sock_open(storage.family, 2, &fd))) return error;
        if ((error = sock_connect(fd, &buffer, port))) return close(fd), error;
        if (write(fd, "ahoy\n", 5) != 5 || read(fd, bytes, MOST) != 5) return close(fd), errno;
        close(fd);
    }
    return 0;
}

static uint32_t hoard(int32_t family, int32_t type) {
    static uint32_t fds[MOST];
    uint32_t count = 0, error = 0;
    while (count < MOST && !(error = sock_open(family, type, &fds[count]))) count++;
    for (uint32_t i = 0; i < count; i++) close(fds[i]);
    say(" %u %s", count, error_name(error));
    return 0;
}

static uint32_t told_address(int32_t fd, int peer) {
    Storage storage = {0};
    uint32_t port = 0, error;
#if ABI == 1
    uint32_t type = 0;
    Buffer buffer = {storage.bytes, 16};
    error = (peer ? sock_getpeeraddr : sock_getlocaladdr)(fd, &buffer, &type, &port);
    storage.family = type == 6 ? INET6 : INET4;
#else
    Buffer buffer = {&storage, sizeof storage};
    error = (peer ? sock_getpeeraddr : sock_getlocaladdr)(fd, &buffer, &port);
#endif
    if (!error) say_address(storage.family, storage.bytes, port & 0xffff);
    return error;
}

static int is(const char *word, const char *name) { return strcmp(word, name) == 0; }

/* Says what there is to say and returns 0, or returns the error. */
static uint32_t obey(const char *command, int32_t fd, char *words) {
    Storage storage = {0};
    uint32_t number = 0, size = 0, error;
    uint16_t said = 0;
    if (is(command, "open")) {
        error = sock_open(fd == 6 ? INET6 : INET4, is(words, "dgram") ? 1 : 2, &number);
        if (!error) say(" %u", number);
        return error;
    }
    if (is(command, "hoard")) return hoard(fd == 6 ? INET6 : INET4, is(words, "dgram") ? 1 : 2);
    if (is(command, "bind") || is(command, "connect")) {
        size = parse(strtok(words, " "), &storage);
        Buffer buffer = wrap(&storage, size);
        return (is(command, "bind") ? sock_bind : sock_connect)(fd, &buffer, atoi(strtok(NULL, " ")));
    }
    if (is(command, "listen")) return sock_listen(fd, atoi(words));
    if (is(command, "accept")) {
        error = take(fd, &number);
        if (!error) say(" %u", number);
        return error;
    }
    if (is(command, "shutdown")) return sock_close_half(fd, is(words, "r") ? 1 : is(words, "w") ? 2 : 3);
    if (is(command, "close")) return close(fd) ? errno : 0;
    if (is(command, "nonblock")) return fcntl(fd, F_SETFL, O_NONBLOCK) ? errno : 0;
    if (is(command, "send")) {
        Buffer buffer = {words, strlen(words)};
        error = sock_transmit(fd, &buffer, 1, 0, &size);
        if (!error) say(" %u", size);
        return error;
    }
    if (is(command, "write")) {
        ssize_t written = write(fd, words, strlen(words));
        if (written >= 0) say(" %d", (int)written);
        return written < 0 ? errno : 0;
    }
    if (is(command, "read")) {
        ssize_t got = read(fd, bytes, atoi(words));
        if (got >= 0) say(" %.*s", (int)got, bytes);
        return got < 0 ? errno : 0;
    }
    if (is(command, "recv")) {
        Buffer buffer = {bytes, atoi(words)};
        error = sock_receive(fd, &buffer, 1, 0, &size, &said);
        if (!error) say(" %.*s", (int)size, bytes);
        return error;
    }
    if (is(command, "sendto")) {
        uint32_t length = parse(strtok(words, " "), &storage), port = atoi(strtok(NULL, " "));
        char *text = strtok(NULL, "");
        Buffer to = wrap(&storage, length), buffer = {text ? text : "", text ? strlen(text) : 0};
        error = sock_send_to(fd, &buffer, 1, &to, port, 0, &size);
        if (!error) say(" %u", size);
        return error;
    }
    if (is(command, "recvfrom")) {
        Buffer from = {&storage, sizeof storage}, buffer = {bytes, atoi(words)};
        error = sock_recv_from(fd, &buffer, 1, &from, 0, &number, &size, &said);
        if (error) return error;
        say_address(storage.family, storage.bytes, number & 0xffff);
        say(" %.*s", (int)size, bytes);
        return 0;
    }
    if (is(command, "peer") || is(command, "local")) return told_address(fd, is(command, "peer"));
    if (is(command, "set")) {
        int32_t option = atoi(strtok(words, " ")), value = atoi(strtok(NULL, " "));
        return sock_setsockopt(fd, 0, option, &value, sizeof value);
    }
    if (is(command, "get")) {
        int32_t value = 0;
        size = sizeof value;
        error = sock_getsockopt(fd, 0, atoi(words), &value, &size);
        if (!error) say(" %d", value);
        return error;
    }
    if (is(command, "kind")) {
        __wasi_fdstat_t stat;
        error = __wasi_fd_fdstat_get(fd, &stat);
        if (!error) say(" %d %d", stat.fs_filetype, stat.fs_flags);
        return error;
    }
    if (is(command, "serve")) return serve(fd, atoi(words));
    return ENOTSUP;
}

int main(void) {
    static char line[4096];
    setvbuf(stdin, NULL, _IONBF, 0); /* what has not been obeyed yet is there to be polled for */
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *command = strtok(line, " "), *first = strtok(NULL, " "), *words = strtok(NULL, "");
        uint32_t error;
        answered = answer[0] = 0;
        if (!command || !first) break;
        if (is(command, "lookup")) error = look_up(first, words ? words : "80");
        else if (is(command, "poll")) error = wait_for(atoi(first), words ? words : "");
        else if (is(command, "visit")) {
            char *port = strtok(words, " ");
            error = visit(first, atoi(port), atoi(strtok(NULL, " ")));
        } else error = obey(command, atoi(first), words ? words : "");
        printf(error ? "%s\n" : "ok%s\n", error ? error_name(error) : answer);
        fflush(stdout);
    }
    return 0;
}
