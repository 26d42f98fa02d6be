// A web server in WebAssembly: Go's own net/http, on WasmEdge's sockets.
//
//	/            says hello, and which address asked
//	/from/NAME   passes on what the container NAME says
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	_ "github.com/stealthrocket/net/http" // net/http's client dials by these sockets, too
	"github.com/stealthrocket/net/wasip1"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := wasip1.Listen("tcp", "0.0.0.0:"+port)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", hello)
	http.HandleFunc("/from/", from)
	log.Println("listening on port", port)
	log.Fatal(http.Serve(listener, nil))
}

func hello(w http.ResponseWriter, r *http.Request) {
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	fmt.Fprintf(w, "hello %s, from Go in WebAssembly\n", client)
}

func from(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/from/")
	answer, err := http.Get("http://" + name + ":8080/")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	fmt.Fprintf(w, "%s says: ", name)
	io.Copy(w, answer.Body)
}
