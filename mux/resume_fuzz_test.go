package mux_test

import (
	"context"
	"testing"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// FuzzAcceptor has strangers speak to an acceptor that has a session. It goes on whatever they say.
func FuzzAcceptor(f *testing.F) {
	f.Add(encode(fHello()), []byte(nil))
	f.Add(make([]byte, resumeFrame), make([]byte, proofFrame))
	f.Add(encode(frame{15, fHello().id, string(make([]byte, resumeFrame-12))}), encode(frame{17, 0, string(make([]byte, proofFrame-12))}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		r := newRig(t, bufferedPipe, false, nil)
		defer r.client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a, b := bufferedPipe()
		served := make(chan *mux.Session, 1)
		go func() {
			s, resumed, err := r.acceptor.Serve(ctx, b)
			if resumed || s == r.server {
				t.Errorf("a stranger has resumed the session: %v", err)
			}
			served <- s
		}()
		a.Write(first)
		a.Write(second)
		a.Close()
		if s := <-served; s != nil {
			s.Close()
		}
		r.speaks("after a stranger")
	})
}
