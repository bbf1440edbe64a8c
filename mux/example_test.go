package mux_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/virtnet/virtnet/mux"
)

// Many streams over one connection.
func Example() {
	a, b := net.Pipe() // as a rule one end of a TCP or TLS connection, each in its own process
	server, err := mux.Server(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			st, err := server.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				defer st.Close()
				name, _ := io.ReadAll(st)
				fmt.Fprintf(st, "hello, %s", name)
			}()
		}
	}()

	client, err := mux.Client(a, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for _, name := range []string{"α", "β"} {
		st, err := client.Open(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(st, name)
		st.CloseWrite()
		answer, err := io.ReadAll(st)
		fmt.Printf("stream %d: %s (%v)\n", st.ID(), answer, err)
		st.Close()
	}
	// Output:
	// stream 1: hello, α (<nil>)
	// stream 3: hello, β (<nil>)
}

// A reverse tunnel: a web server behind a firewall dials out to a public machine, and is reached through the
// connection that it has made.
func Example_reverseTunnel() {
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer public.Close()

	// Behind the firewall: one connection out; requests come in over it.
	go func() {
		conn, err := net.Dial("tcp", public.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		session, err := mux.Server(conn, nil)
		if err != nil {
			log.Fatal(err)
		}
		_ = http.Serve(session.Listener(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "you asked for %s", r.URL.Path)
		}))
	}()

	// On the public machine: each request is a stream.
	conn, err := public.Accept()
	if err != nil {
		log.Fatal(err)
	}
	session, err := mux.Client(conn, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return session.Open(ctx) },
	}}
	resp, err := client.Get("http://inside/tea")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s\n", body)
	// Output: you asked for /tea
}
