/* Traps with source lines to be found: compiled with -g. */
#include <stdio.h>

static volatile int sink;

__attribute__((noinline)) static void hit_the_rock(int depth) {
    sink = depth;
    __builtin_trap(); /* line 8 */
}

__attribute__((noinline)) static void sail(int depth) {
    hit_the_rock(depth + 1);
    sink++;
}

int main(void) {
    fputs("about to crash\n", stderr);
    sail(1);
    return 0;
}
