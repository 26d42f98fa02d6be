// Go's own net/http on a listening socket that was open from the start, descriptor 3 or the given one:
// nothing but WASI 0.1 as standardised.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	log.SetFlags(0)
	first := 3
	if len(os.Args) > 1 {
		first, _ = strconv.Atoi(os.Args[1])
	}
	listener, err := net.FileListener(os.NewFile(uintptr(first), "listener"))
	if err != nil {
		log.Fatal(err)
	}
	files, err := os.ReadDir("/")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "descriptor %d, %d files in /\n", first, len(files))
	})))
}
