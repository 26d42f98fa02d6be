/* Sockets of WASI 0.2, without a libc: the core of the component that sockets.wat wraps around it.
 *
 *   serve PORT       answers each HTTP request with its own first line, one connection at a time
 *   get NAME PORT    prints what NAME answers to a request for /
 *   udp              makes a socket for UDP
 *
 * The signatures are those of the canonical ABI: a result of more than one word is stored at `to`.
 */
#include <stdint.h>

#define FROM(module, name) __attribute__((import_module(module), import_name(name))) extern
#define ADDRESS uint32_t family, uint32_t port, uint32_t a, uint32_t b, uint32_t c, uint32_t d, \
    uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t
#define IPV4(port, ip) 0, port, (ip)[0], (ip)[1], (ip)[2], (ip)[3], 0, 0, 0, 0, 0, 0

typedef struct { uint8_t failed, error; } Done;
typedef struct { uint8_t failed; union { uint8_t error; uint32_t handle; }; } Made;
typedef struct { uint8_t failed; union { uint8_t error; uint32_t handles[3]; }; } Opened;
typedef struct { uint8_t failed; uint32_t at, size; } Bytes;
typedef struct { _Alignas(2) uint8_t failed; uint8_t pad, some, pad2, family, pad3, ip[16]; } Address;
typedef struct { uint32_t at, size; } Text;

FROM("env", "forget") void forget(void);
FROM("env", "arguments") void arguments(Text *to);
FROM("env", "stdout") uint32_t stdout_stream(void);
FROM("env", "read") void read(uint32_t stream, uint64_t most, Bytes *to);
FROM("env", "write") void write(uint32_t stream, uint32_t at, uint32_t size, Bytes *to);
FROM("env", "block") void block(uint32_t pollable);
FROM("env", "network") uint32_t instance_network(void);
FROM("env", "create") void create(uint32_t family, Made *to);
FROM("env", "create-udp") void create_udp(uint32_t family, Made *to);
FROM("env", "start-bind") void start_bind(uint32_t socket, uint32_t network, ADDRESS, Done *to);
FROM("env", "finish-bind") void finish_bind(uint32_t socket, Done *to);
FROM("env", "start-listen") void start_listen(uint32_t socket, Done *to);
FROM("env", "finish-listen") void finish_listen(uint32_t socket, Done *to);
FROM("env", "accept") void accept(uint32_t socket, Opened *to);
FROM("env", "start-connect") void start_connect(uint32_t socket, uint32_t network, ADDRESS, Done *to);
FROM("env", "finish-connect") void finish_connect(uint32_t socket, Opened *to);
FROM("env", "subscribe") uint32_t subscribe(uint32_t socket);
FROM("env", "resolve") void resolve(uint32_t network, uint32_t at, uint32_t size, Made *to);
FROM("env", "next-address") void next_address(uint32_t stream, Address *to);
FROM("env", "subscribe-address") uint32_t subscribe_address(uint32_t stream);
FROM("env", "drop-pollable") void drop_pollable(uint32_t handle);
FROM("env", "drop-socket") void drop_socket(uint32_t handle);
FROM("env", "drop-input") void drop_input(uint32_t handle);
FROM("env", "drop-output") void drop_output(uint32_t handle);
FROM("env", "exit") void exit_with(uint32_t failed) __attribute__((noreturn));

enum { WOULD_BLOCK = 8 };
static uint32_t screen;

static void say(const char *text, uint32_t size) {
    Bytes done;
    write(screen, (uint32_t)text, size, &done);
}

static void die(const char *what, uint8_t error) {
    char number[] = ": error 00\n";
    uint32_t size = 0;
    while (what[size]) size++;
    number[8] += error / 10, number[9] += error % 10;
    say(what, size);
    say(number, sizeof number - 1);
    exit_with(1);
}

static void wait_on(uint32_t pollable) {
    block(pollable);
    drop_pollable(pollable);
}

static uint32_t tcp_socket(void) {
    Made socket;
    create(0, &socket);
    if (socket.failed) die("create", socket.error);
    return socket.handle;
}

static uint32_t number(Text text) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < text.size; i++) value = value * 10 + ((char *)text.at)[i] - '0';
    return value;
}

static void answer(const Opened *connection) {
    static const char head[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    uint32_t input = connection->handles[1], output = connection->handles[2], size = 0;
    Bytes request, done;
    read(input, 4096, &request);
    if (!request.failed) {
        const char *text = (const char *)request.at;
        while (size < request.size && text[size] != '\r') size++;
        write(output, (uint32_t)head, sizeof head - 1, &done);
        write(output, request.at, size, &done);
        write(output, (uint32_t)"\n", 1, &done);
    }
    drop_input(input), drop_output(output), drop_socket(connection->handles[0]);
    forget();
}

static void serve(uint32_t port) {
    static const uint8_t any[4];
    uint32_t network = instance_network(), socket = tcp_socket();
    Done done;
    start_bind(socket, network, IPV4(port, any), &done);
    if (done.failed) die("start-bind", done.error);
    finish_bind(socket, &done);
    if (done.failed) die("finish-bind", done.error);
    start_listen(socket, &done);
    if (done.failed) die("start-listen", done.error);
    finish_listen(socket, &done);
    if (done.failed) die("finish-listen", done.error);
    say("listening\n", 10);
    for (Opened connection;;) {
        wait_on(subscribe(socket));
        accept(socket, &connection);
        if (!connection.failed)
            answer(&connection);
        else if (connection.error != WOULD_BLOCK)
            die("accept", connection.error);
    }
}

static Address look_up(uint32_t network, Text name) {
    Made stream;
    Address found;
    resolve(network, name.at, name.size, &stream);
    if (stream.failed) die("resolve-addresses", stream.error);
    for (;;) {
        next_address(stream.handle, &found);
        if (found.failed) {
            // Where an address would be, the error is.
            if (found.some != WOULD_BLOCK) die("resolve-next-address", found.some);
            wait_on(subscribe_address(stream.handle));
        } else if (!found.some) {
            die("no address of version 4", 0);
        } else if (found.family == 0) {
            return found;
        }
    }
}

static void get(Text name, uint32_t port) {
    uint32_t network = instance_network(), socket = tcp_socket();
    Address at = look_up(network, name);
    Done done;
    Opened connection;
    Bytes reply, sent;
    start_connect(socket, network, IPV4(port, at.ip), &done);
    if (done.failed) die("start-connect", done.error);
    for (;;) {
        finish_connect(socket, &connection);
        if (!connection.failed) break;
        if (connection.error != WOULD_BLOCK) die("finish-connect", connection.error);
        wait_on(subscribe(socket));
    }
    write(connection.handles[1], (uint32_t)"GET / HTTP/1.0\r\n\r\n", 18, &sent);
    for (;;) {
        read(connection.handles[0], 4096, &reply);
        if (reply.failed) return;
        say((const char *)reply.at, reply.size);
        forget();
    }
}

static int32_t udp(void) {
    Made socket;
    create_udp(0, &socket);
    if (socket.failed) die("create-udp", socket.error);
    return 0;
}

__attribute__((export_name("run"))) int32_t run(void) {
    Text list, *words;
    screen = stdout_stream();
    arguments(&list);
    words = (Text *)list.at;
    if (list.size == 3 && *(char *)words[1].at == 's') serve(number(words[2]));
    if (list.size == 4 && *(char *)words[1].at == 'g') return get(words[2], number(words[3])), 0;
    if (list.size == 2 && *(char *)words[1].at == 'u') return udp();
    die("expected serve PORT, get NAME PORT or udp", 0);
    return 1;
}
