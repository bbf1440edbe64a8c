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

// Net/http over a session: the web server is at the end that has dialled, as behind a firewall, and is asked through the
// connection that it has made.
func Example_http() {
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

// A web server that finishes what it has begun: session.Listener's Close would end the session with all its streams.
func Example_shutdown() {
	a, b := net.Pipe()
	inside, err := mux.Server(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	outside, err := mux.Client(a, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer outside.Close()

	begun, stopping := make(chan bool), make(chan bool)
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-stopping
		fmt.Fprint(w, "done, though late")
	})}
	server.RegisterOnShutdown(func() { close(stopping) })
	go server.Serve(newGraceful(inside))
	answer := make(chan string)
	go func() {
		client := http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return outside.Open(ctx) },
		}}
		resp, err := client.Get("http://inside/slow")
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()

	<-begun
	down := make(chan error)
	go func() { down <- server.Shutdown(context.Background()) }()
	fmt.Println(<-answer)
	fmt.Println(<-down, inside.Shutdown(context.Background()))
	// Output:
	// done, though late
	// <nil> <nil>
}

// graceful is a session as a net.Listener whose Close only ends accepting.
type graceful struct {
	net.Listener
	session *mux.Session
	ctx     context.Context
	cancel  context.CancelFunc
}

func newGraceful(s *mux.Session) graceful {
	ctx, cancel := context.WithCancel(context.Background())
	return graceful{s.Listener(), s, ctx, cancel}
}

func (g graceful) Accept() (net.Conn, error) { return g.session.Accept(g.ctx) }
func (g graceful) Close() error              { g.cancel(); return nil }
