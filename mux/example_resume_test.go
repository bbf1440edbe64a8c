package mux_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/virtnet/virtnet/mux"
)

// serveAll takes what comes to a server, new sessions and connections of those that there are.
func serveAll(l net.Listener, acceptor *mux.Acceptor, use func(*mux.Session)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // it waits for what the client sends first
			session, resumed, err := acceptor.Serve(context.Background(), conn)
			switch {
			case err != nil:
				log.Print(err) // a stranger, or a client whose session has ended
			case !resumed:
				use(session)
			}
		}()
	}
}

// A session that outlives its connection. Both ends have a Config.Resume, the client's with a Dial; the server's
// sessions come from an Acceptor. A client that is to outlive its server's restart, too, makes another session when this one has
// ended.
func Example_resume() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	acceptor := mux.NewAcceptor(&mux.Config{Resume: &mux.Resume{}})
	defer acceptor.Close()
	go serveAll(l, acceptor, func(s *mux.Session) {
		st, err := s.Accept(context.Background())
		if err != nil {
			return
		}
		defer st.Close()
		io.Copy(st, st)
	})

	var last net.Conn // to cut it; a program has no need of that
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", l.Addr().String())
		last = conn
		return conn, err
	}
	ctx := context.Background()
	conn, err := dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	session, err := mux.Client(conn, &mux.Config{Resume: &mux.Resume{Dial: dial}})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	st, err := session.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	for _, word := range []string{"before", "after"} {
		if _, err := st.Write([]byte(word)); err != nil {
			log.Fatal(err)
		}
		answer := make([]byte, len(word))
		if _, err := io.ReadFull(st, answer); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: resumed %d times\n", answer, session.Stats().Resumed)
		if word == "before" {
			last.Close()
		}
	}
	// Output:
	// before: resumed 0 times
	// after: resumed 1 times
}
