package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/xnet"
	"github.com/virtnet/virtnet/xnet/xhttp"
)

// Process is one of the demo's processes: it reads its task from in, and tells the parent on out what happens.
// It returns when ctx is done or in ends, which is when the parent is done with it or dead.
func Process(ctx context.Context, in io.Reader, out io.Writer) error {
	dec := json.NewDecoder(in)
	var t task
	if err := dec.Decode(&t); err != nil {
		return fmt.Errorf("demo process: no task: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()

	to := newTeller(t.Host, out)
	err := t.run(ctx, to)
	if ctx.Err() != nil {
		return nil // whatever it was, it was the end
	}
	to.tell(event{Kind: failed, Error: err.Error()})
	return err
}

// run does the task until ctx is done. It always returns an error.
func (t *task) run(ctx context.Context, to *teller) error {
	start := time.Now()
	if t.Mesh != nil {
		return t.runNode(ctx, to)
	}
	network, err := lonet.Join(ctx, t.Network)
	if err != nil {
		return err
	}
	defer network.Close()
	host, err := network.NewHost(ctx, t.Host)
	if err != nil {
		return err
	}
	up := event{Kind: ready, PID: os.Getpid(), Took: time.Since(start)}
	if t.From == "" {
		l, err := host.Listen(ctx, ":80")
		if err != nil {
			return err
		}
		return serve(ctx, xnet.BindCtxL(l, ctx), t, func() { to.tell(up) })
	}
	to.tell(up)
	return fetch(ctx, xhttp.Transport(host), t, to)
}
