// An HTTP server of Go's net/http on WasmEdge's sockets.
//
//	hello [ADDRESS]    listens on ADDRESS, 0.0.0.0:8080 by default
//
// It answers every path with one line, but /echo with the request's body, /who with the client's
// address and /large?BYTES with as many bytes.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"

	"github.com/stealthrocket/net/wasip1"
)

func main() {
	address := "0.0.0.0:8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	listener, err := wasip1.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello from Go\n")
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	http.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.RemoteAddr)
	})
	http.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.RawQuery)
		chunk := make([]byte, 64<<10)
		for ; size > 0; size -= len(chunk) {
			if _, err := w.Write(chunk[:min(size, len(chunk))]); err != nil {
				return
			}
		}
	})
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
