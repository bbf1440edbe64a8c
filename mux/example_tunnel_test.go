package mux_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/virtnet/virtnet/mux"
)

// expose is the tunnel's end behind a firewall: it dials out, and brings what comes through the tunnel to target.
func expose(gate, target string) error {
	conn, err := net.Dial("tcp", gate)
	if err != nil {
		return err
	}
	session, err := mux.Server(conn, nil)
	if err != nil {
		return err
	}
	return tunnel(session.Listener(), func() (net.Conn, error) { return net.Dial("tcp", target) })
}

// tunnel connects what comes to l with what dial returns, until l is closed.
func tunnel(l net.Listener, dial func() (net.Conn, error)) error {
	for {
		a, err := l.Accept()
		if err != nil {
			return err
		}
		if b, err := dial(); err == nil {
			go join(a, b)
		} else {
			a.Close()
		}
	}
}

// join copies both ways, each until its end, which it passes on.
func join(a, b net.Conn) {
	var ways sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		ways.Go(func() {
			io.Copy(way[0], way[1])
			way[0].(interface{ CloseWrite() error }).CloseWrite()
		})
	}
	ways.Wait()
	a.Close()
	b.Close()
}

// A reverse tunnel: a server behind a firewall dials out to a public machine, on which it is reached. One end is expose, the
// other the function outside; with the two that both share they are 30 lines, but for the checks of errors.
func Example_reverseTunnel() {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		return l
	}
	gate, public := listen(), listen()
	defer gate.Close()
	defer public.Close()

	// Behind the firewall: a web server, and expose.
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	}))
	defer web.Close()
	go expose(gate.Addr().String(), web.Listener.Addr().String())

	// On the public machine: one connection from behind the firewall, any number from elsewhere.
	outside := func() error {
		conn, err := gate.Accept()
		if err != nil {
			return err
		}
		session, err := mux.Client(conn, nil)
		if err != nil {
			return err
		}
		defer session.Close()
		return tunnel(public, func() (net.Conn, error) { return session.Open(context.Background()) })
	}
	go outside()

	resp, err := http.Get("http://" + public.Addr().String() + "/tea")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s\n", body)
	http.DefaultClient.CloseIdleConnections()
	// Output: you asked for /tea
}
