/* A server of WASI 0.1 as standardised: its listening sockets are open when it begins.
 *
 * It says what they are called, and answers each HTTP request with the socket's name and the
 * request's first line, or if that asks for /file/NAME, with what is in the file /NAME.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 300 };

static char names[4096], *name[MOST];
static char request[4096], reply[8192];

static void answer(int connection, const char *listener) {
    ssize_t size = recv(connection, request, sizeof request - 1, 0);
    char *end, *path;
    int length = snprintf(reply, sizeof reply, "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n");
    if (size <= 0) return;
    request[size] = 0;
    if ((end = strchr(request, '\r'))) *end = 0;
    if ((path = strstr(request, " /file/"))) {
        FILE *file;
        path += strlen(" /file");
        if ((end = strchr(path, ' '))) *end = 0;
        file = fopen(path, "r");
        if (file) {
            length += fread(reply + length, 1, sizeof reply - length, file);
            fclose(file);
        } else {
            length += snprintf(reply + length, 4096, "%s: %s\n", path, strerror(errno));
        }
    } else {
        length += snprintf(reply + length, 4200, "%s %s\n", listener, request);
    }
    send(connection, reply, length, 0);
}

int main(void) {
    const char *count = getenv("LISTEN_FDS"), *called = getenv("LISTEN_FDNAMES");
    int number = count ? atoi(count) : 0;
    struct pollfd listening[MOST];
    if (!number || number > MOST || !called || strlen(called) >= sizeof names) {
        puts("nothing to listen on");
        return 1;
    }
    strcpy(names, called);
    for (int i = 0; i < number; i++) {
        name[i] = i ? strtok(NULL, ":") : strtok(names, ":");
        listening[i].fd = FIRST + i, listening[i].events = POLLIN;
    }
    printf("listening on %s\n", called);
    fflush(stdout);
    for (;;) {
        if (poll(listening, number, -1) < 0) return perror("poll"), 1;
        for (int i = 0; i < number; i++) {
            int connection;
            if (!listening[i].revents) continue;
            connection = accept(listening[i].fd, NULL, NULL);
            if (connection < 0) return perror("accept"), 1;
            answer(connection, name[i]);
            close(connection);
        }
    }
}
