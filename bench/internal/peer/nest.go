package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/virtnet/virtnet/bench/internal/carrier"
	"github.com/virtnet/virtnet/mux"
)

func openResume(c carrier.Carrier) (Net, error) {
	return overPair(c, func(client, server net.Conn) (ends, error) { return resumable(client, server) })
}

// openNest sets up a session in a stream of another.
func openNest(c carrier.Carrier) (Net, error) {
	return overPair(c, func(client, server net.Conn) (ends, error) {
		cs, err := mux.Client(client, nil)
		if err != nil {
			return ends{}, err
		}
		ss, err := mux.Server(server, nil)
		if err != nil {
			cs.Close()
			return ends{}, err
		}
		inner, err := inStream(cs, ss)
		if err != nil {
			cs.Close()
			ss.Close()
			return ends{}, err
		}
		shut := inner.close
		inner.close = func() { shut(); cs.Close(); ss.Close() }
		return inner, nil
	})
}

func inStream(cs, ss *mux.Session) (ends, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	opened, err1 := cs.Open(ctx)
	accepted, err2 := ss.Accept(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return ends{}, err
	}
	return resumable(opened, accepted)
}

// resumable sets up a session that can be resumed, and has its keys.
func resumable(client, server io.ReadWriteCloser) (ends, error) {
	cfg := &mux.Config{Resume: new(mux.Resume)}
	cs, err := mux.Client(client, cfg)
	if err != nil {
		return ends{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ss, _, err := mux.NewAcceptor(cfg).Serve(ctx, server)
	if err == nil {
		_, err = cs.Ping(ctx)
	}
	if err != nil {
		cs.Close()
		return ends{}, err
	}
	return sessionEnds(cs, ss), nil
}
