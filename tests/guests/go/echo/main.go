// Echo on WasmEdge's sockets, and what a client sees of it.
//
//	echo serve NETWORK ADDRESS…    echoes on each; NETWORK is tcp, tcp4, tcp6, udp, udp4 or udp6
//	echo send NETWORK ADDRESS…     sends "ahoy" to each in turn and prints what came back, or why not
//
// Each line names its address, so that two of one program can be told apart.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stealthrocket/net/wasip1"
)

func main() {
	log.SetFlags(0)
	network, addresses := os.Args[2], os.Args[3:]
	if os.Args[1] == "send" {
		for _, address := range addresses {
			fmt.Printf("%s: %s\n", address, send(network, address))
		}
		return
	}
	var all sync.WaitGroup
	for _, address := range addresses {
		all.Add(1)
		go func(address string) {
			defer all.Done()
			if strings.HasPrefix(network, "udp") {
				servePackets(network, address)
			} else {
				serveStreams(network, address)
			}
		}(address)
	}
	all.Wait()
}

func servePackets(network, address string) {
	conn, err := wasip1.ListenPacket(network, address)
	if err != nil {
		log.Fatal(address, ": ", why(err))
	}
	fmt.Println("listening on", conn.LocalAddr())
	packet := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil && err != io.EOF { // an empty packet is told as the end
			log.Fatal(address, ": ", err)
		}
		if _, err := conn.WriteTo(packet[:n], from); err != nil {
			log.Fatal(address, ": ", err)
		}
	}
}

func serveStreams(network, address string) {
	listener, err := wasip1.Listen(network, address)
	if err != nil {
		log.Fatal(address, ": ", why(err))
	}
	fmt.Println("listening on", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(address, ": ", err)
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

func send(network, address string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := wasip1.DialContext(ctx, network, address)
	if err != nil {
		return why(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("ahoy")); err != nil {
		return why(err)
	}
	buffer := make([]byte, 64)
	n, err := conn.Read(buffer)
	if err != nil {
		return why(err)
	}
	return fmt.Sprintf("%q from %s", buffer[:n], conn.RemoteAddr())
}

// why names the error by its number's text if there is one: the words around it are the library's.
func why(err error) string {
	var number syscall.Errno
	var name *net.DNSError
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &name):
		return "no such name"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline exceeded"
	}
	return err.Error()
}
