#include <stdio.h>

int main(void) {
    puts("hello from C in a WebAssembly container");
    return 0;
}
