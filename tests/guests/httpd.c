/* An HTTP server on WasmEdge's sockets: one thread, connections that stay, all of them waited for by
 * poll_oneoff.
 *
 *   httpd [PORT]     8080 by default; every request is answered by the same few words
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

#define WASI(name) \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) extern uint32_t

typedef struct { const void *at; uint32_t size; } Buffer;

WASI(sock_open) sock_open(int32_t family, int32_t type, uint32_t *fd);
WASI(sock_bind) sock_bind(int32_t fd, Buffer *address, uint32_t port);
WASI(sock_listen) sock_listen(int32_t fd, int32_t backlog);
WASI(sock_accept) sock_take(int32_t fd, uint32_t flags, uint32_t *taken);
WASI(sock_recv) sock_receive(int32_t fd, Buffer *to, uint32_t count, uint32_t flags, uint32_t *size, uint16_t *said);
WASI(sock_send) sock_transmit(int32_t fd, Buffer *from, uint32_t count, uint32_t flags, uint32_t *size);
WASI(sock_setsockopt) sock_setsockopt(int32_t fd, int32_t level, int32_t name, void *value, uint32_t size);

enum { INET4 = 1, STREAM = 2, SOL_SOCKET = 0, SO_REUSEADDR = 0, MOST = 1024, HEAD = 4096 };

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello from C\n";

/* The first `size` bytes of `head` are a request that is not whole yet. */
typedef struct { uint32_t fd, size; char head[HEAD]; } Connection;

static Connection connections[MOST];
static size_t count;
static __wasi_subscription_t asked[MOST + 1];
static __wasi_event_t told[MOST + 1];

static void check(uint32_t error, const char *what) {
    if (error) fprintf(stderr, "%s: %s\n", what, strerror(error)), exit(1);
}

static void take(uint32_t listener) {
    Connection *connection = &connections[count];
    if (sock_take(listener, __WASI_FDFLAGS_NONBLOCK, &connection->fd)) return; /* gone already */
    connection->size = 0;
    count++;
}

/* Answers each whole request that has come; 0 when the connection is over. */
static int answer(Connection *connection) {
    Buffer to = {connection->head + connection->size, HEAD - connection->size};
    Buffer from = {ANSWER, sizeof ANSWER - 1};
    uint32_t size, sent;
    uint16_t said;
    uint32_t error = sock_receive(connection->fd, &to, 1, 0, &size, &said);
    if (error == __WASI_ERRNO_AGAIN) return 1;
    if (error || size == 0) return 0;
    connection->size += size;
    for (;;) {
        char *end = memmem(connection->head, connection->size, "\r\n\r\n", 4);
        if (!end) return connection->size < HEAD;
        /* A client that does not read what fits into the kernel's buffer is not served any more. */
        if (sock_transmit(connection->fd, &from, 1, 0, &sent) || sent != from.size) return 0;
        connection->size -= end + 4 - connection->head;
        memmove(connection->head, end + 4, connection->size);
    }
}

int main(int argc, char **argv) {
    uint32_t listener, port = argc > 1 ? atoi(argv[1]) : 8080, yes = 1;
    uint8_t any[4] = {0};
    Buffer address = {any, sizeof any};
    check(sock_open(INET4, STREAM, &listener), "open");
    check(sock_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), "reuse");
    check(sock_bind(listener, &address, port), "bind");
    check(sock_listen(listener, 512), "listen");
    printf("listening\n");
    fflush(stdout);
    for (;;) {
        size_t events, asking = 0;
        for (; asking < count; asking++) {
            asked[asking].userdata = asking;
            asked[asking].u.tag = __WASI_EVENTTYPE_FD_READ;
            asked[asking].u.u.fd_read.file_descriptor = connections[asking].fd;
        }
        if (count < MOST) {
            asked[asking].userdata = MOST;
            asked[asking].u.tag = __WASI_EVENTTYPE_FD_READ;
            asked[asking++].u.u.fd_read.file_descriptor = listener;
        }
        check(__wasi_poll_oneoff(asked, told, asking, &events), "poll");
        static uint8_t over[MOST];
        size_t known = count;
        memset(over, 0, known);
        for (size_t i = 0; i < events; i++) {
            if (told[i].userdata == MOST) take(listener);
            else over[told[i].userdata] = !answer(&connections[told[i].userdata]);
        }
        for (size_t i = known; i-- > 0;) {
            if (!over[i]) continue;
            close(connections[i].fd);
            connections[i] = connections[--count];
        }
    }
}
