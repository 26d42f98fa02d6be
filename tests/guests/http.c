/* Answers of a component of wasi:http 0.2, without a libc: http.wat wraps the component around it.
 *
 *   /                      hello
 *   /echo                  the request's body, piece by piece
 *   /zeros/N               N zeros
 *   /env/NAME              an environment variable
 *   /file/PATH             a file beneath the first preopened directory
 *   /http/HOST:PORT/PATH   what another server answers; /https/ the same by TLS
 *   /log/TEXT              writes TEXT and a newline on its stdout
 *   /memory                how far memory grew, in pages, before it was refused
 *   /trap, /spin           does not answer
 *
 * The signatures are those of the canonical ABI: a result of more than one word is stored at `to`.
 */
#include <stdint.h>

#define FROM(name) __attribute__((import_module("env"), import_name(name))) extern
#define CHUNK 4096u /* what blocking-write-and-flush takes */

typedef struct { uint32_t at, size; } Text;
typedef struct { uint8_t some; Text text; } Perhaps;
typedef struct { uint8_t failed; uint32_t handle; } Made;
typedef struct { uint8_t failed; union { uint8_t error; Text text; }; } Bytes;
typedef struct { uint8_t failed; _Alignas(8) uint8_t error[32]; } Done;
typedef struct { uint8_t failed; union { _Alignas(8) uint8_t error[32]; uint32_t handle; }; } Sent;
typedef struct { uint8_t some; _Alignas(8) uint8_t again; Sent answer; } Answer;

FROM("forget") void forget(void);
FROM("environment") void environment(Text *to);
FROM("arguments") void arguments(Text *to);
FROM("stdout") uint32_t stdout_stream(void);
FROM("read") void read(uint32_t stream, uint64_t most, Bytes *to);
FROM("write") void write(uint32_t stream, uint32_t at, uint32_t size, Bytes *to);
FROM("block") void block(uint32_t pollable);
FROM("folders") void folders(Text *to);
FROM("open") void open(uint32_t folder, uint32_t follow, uint32_t at, uint32_t size, uint32_t how,
    uint32_t flags, Made *to);
FROM("file") void file_stream(uint32_t file, uint64_t offset, Made *to);
FROM("fields") uint32_t fields(void);
FROM("path") void path_with_query(uint32_t request, Perhaps *to);
FROM("consume") void consume(uint32_t request, Made *to);
FROM("stream") void stream(uint32_t body, Made *to);
FROM("reply") uint32_t reply(uint32_t fields);
FROM("status") uint32_t set_status(uint32_t reply, uint32_t code);
FROM("body") void reply_body(uint32_t reply, Made *to);
FROM("sink") void sink(uint32_t body, Made *to);
FROM("finish") void finish(uint32_t body, uint32_t some, uint32_t trailers, Done *to);
FROM("answer") void answer(uint32_t out, uint32_t failed, uint32_t reply, uint32_t, uint64_t,
    uint32_t, uint32_t, uint32_t, uint32_t);
FROM("call") uint32_t call(uint32_t fields);
FROM("set-path") uint32_t set_path(uint32_t call, uint32_t some, uint32_t at, uint32_t size);
FROM("set-scheme") uint32_t set_scheme(uint32_t call, uint32_t some, uint32_t kind, uint32_t at,
    uint32_t size);
FROM("set-authority") uint32_t set_authority(uint32_t call, uint32_t some, uint32_t at,
    uint32_t size);
FROM("send") void send(uint32_t call, uint32_t some, uint32_t options, Sent *to);
FROM("subscribe") uint32_t subscribe(uint32_t future);
FROM("get") void get(uint32_t future, Answer *to);
FROM("receive") void receive(uint32_t answer, Made *to);
FROM("drop-pollable") void drop_pollable(uint32_t handle);
FROM("drop-output") void drop_output(uint32_t handle);

static uint32_t outparam, body, output;

static int starts(Text *text, const char *with) {
    uint32_t size = 0;
    while (with[size]) size++;
    if (text->size < size) return 0;
    for (uint32_t i = 0; i < size; i++)
        if (((const char *)text->at)[i] != with[i]) return 0;
    text->at += size, text->size -= size;
    return 1;
}

/* Sends the head; what is said from then on is the body. */
static void begin(uint32_t code) {
    Made made;
    uint32_t head = reply(fields());
    if (set_status(head, code)) __builtin_trap();
    reply_body(head, &made);
    body = made.handle;
    sink(body, &made);
    output = made.handle;
    answer(outparam, 0, head, 0, 0, 0, 0, 0, 0);
}

static int put(uint32_t to, Text text) {
    Bytes done;
    while (text.size) {
        uint32_t size = text.size < CHUNK ? text.size : CHUNK;
        write(to, text.at, size, &done);
        if (done.failed) return 0;
        text.at += size, text.size -= size;
    }
    return 1;
}

static void end(void) {
    Done done;
    drop_output(output);
    finish(body, 0, 0, &done);
}

static void say(uint32_t code, const char *text) {
    uint32_t size = 0;
    while (text[size]) size++;
    begin(code);
    put(output, (Text){(uint32_t)text, size});
    end();
}

static void say_number(uint32_t code, const char *what, uint32_t value) {
    static char line[64];
    char digits[12];
    uint32_t size = 0, count = 0;
    while (what[size]) line[size] = what[size], size++;
    do digits[count++] = '0' + value % 10; while (value /= 10);
    while (count) line[size++] = digits[--count];
    line[size++] = '\n';
    begin(code);
    put(output, (Text){(uint32_t)line, size});
    end();
}

static void copy(uint32_t input) {
    Bytes piece;
    for (;;) {
        read(input, 1 << 16, &piece);
        if (piece.failed || !put(output, piece.text)) break;
        forget();
    }
    end();
}

static void echo(uint32_t request) {
    Made made;
    consume(request, &made);
    stream(made.handle, &made);
    begin(200);
    copy(made.handle);
}

static void zeros(Text number) {
    static char nothing[CHUNK];
    uint64_t size = 0;
    for (uint32_t i = 0; i < number.size; i++)
        size = 10 * size + ((char *)number.at)[i] - '0';
    begin(200);
    for (; size; size -= size < CHUNK ? size : CHUNK)
        if (!put(output, (Text){(uint32_t)nothing, size < CHUNK ? size : CHUNK})) break;
    end();
}

static void variable(Text name) {
    Text all;
    environment(&all);
    Text(*pairs)[2] = (void *)all.at;
    for (uint32_t i = 0; i < all.size; i++) {
        if (pairs[i][0].size != name.size) continue;
        uint32_t same = 0;
        while (same < name.size && ((char *)pairs[i][0].at)[same] == ((char *)name.at)[same]) same++;
        if (same < name.size) continue;
        begin(200);
        put(output, pairs[i][1]);
        end();
        return;
    }
    say(404, "not set\n");
}

static void file(Text path) {
    Text all;
    Made made;
    folders(&all);
    if (!all.size) {
        say(404, "no folder\n");
        return;
    }
    open(*(uint32_t *)all.at, 1, path.at, path.size, 0, 1, &made);
    if (made.failed) {
        say_number(404, "error ", made.handle & 0xFF);
        return;
    }
    file_stream(made.handle, 0, &made);
    begin(200);
    copy(made.handle);
}

/* Calls another server; 0 when its answer's body is to be read from `input`. */
static int request(Text url, uint32_t https, uint32_t *input, uint8_t *error) {
    uint32_t size = 0, outgoing = call(fields());
    while (size < url.size && ((char *)url.at)[size] != '/') size++;
    Sent sent;
    Answer got;
    if (set_scheme(outgoing, 1, https, 0, 0) || set_authority(outgoing, 1, url.at, size)
        || set_path(outgoing, 1, url.at + size, url.size - size)) return 1;
    send(outgoing, 0, 0, &sent);
    *error = sent.error[0];
    if (sent.failed) return 1;
    uint32_t ready = subscribe(sent.handle);
    block(ready);
    drop_pollable(ready);
    get(sent.handle, &got);
    *error = got.answer.error[0];
    if (got.answer.failed) return 1;
    Made made;
    receive(got.answer.handle, &made);
    stream(made.handle, &made);
    *input = made.handle;
    return 0;
}

static void fetch(Text url, uint32_t https) {
    uint32_t input;
    uint8_t error = 255;
    if (request(url, https, &input, &error)) {
        say_number(502, "error ", error);
        return;
    }
    begin(200);
    copy(input);
}

/* As a command: prints what the server answers that its second argument names, HOST:PORT/PATH. */
__attribute__((export_name("run"))) uint32_t run(void) {
    Text all, *words;
    Bytes piece;
    uint32_t input, screen = stdout_stream();
    uint8_t error;
    arguments(&all);
    words = (Text *)all.at;
    if (all.size < 2 || request(words[1], 0, &input, &error)) return 1;
    for (;;) {
        read(input, 1 << 16, &piece);
        if (piece.failed || !put(screen, piece.text)) return 0;
    }
}

static void log_line(Text text) {
    uint32_t screen = stdout_stream();
    put(screen, text);
    put(screen, (Text){(uint32_t)"\n", 1});
    say(200, "told\n");
}

static void grow(void) {
    while (__builtin_wasm_memory_grow(0, 16) != (uint32_t)-1) {}
    say_number(200, "pages ", __builtin_wasm_memory_size(0));
}

__attribute__((export_name("handle"))) void handle(uint32_t request, uint32_t out) {
    Perhaps asked;
    outparam = out;
    path_with_query(request, &asked);
    Text path = asked.text;
    if (starts(&path, "/echo")) echo(request);
    else if (starts(&path, "/zeros/")) zeros(path);
    else if (starts(&path, "/env/")) variable(path);
    else if (starts(&path, "/file/")) file(path);
    else if (starts(&path, "/http/")) fetch(path, 0);
    else if (starts(&path, "/https/")) fetch(path, 1);
    else if (starts(&path, "/log/")) log_line(path);
    else if (starts(&path, "/memory")) grow();
    else if (starts(&path, "/trap")) __builtin_trap();
    else if (starts(&path, "/spin")) for (;;) __asm__ volatile("");
    else say(200, "hello\n");
}
