package demo

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
)

// service is what the mesh's server is called there.
const service = "files"

// runNode does the task of a node. It always returns an error.
func (t *task) runNode(ctx context.Context, to *teller) error {
	start := time.Now()
	credentials, err := ca.New(t.Mesh.Credentials)
	if err != nil {
		return err
	}
	node := astranet.Config{Credentials: credentials}.New()
	defer node.Close()
	if t.Mesh.Join == "" {
		l, err := node.Bind("", service+":80")
		if err != nil {
			return err
		}
		if err := node.ListenAndServe("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		up := event{Kind: ready, PID: os.Getpid(), Address: node.Addrs()[0].String(), Took: time.Since(start)}
		return serve(ctx, l, t, func() { to.tell(up) })
	}
	if err := node.JoinContext(ctx, "tcp", t.Mesh.Join); err != nil {
		return err
	}
	to.tell(event{Kind: ready, PID: os.Getpid(), Took: time.Since(start)})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return node.DialContext(ctx, "", addr)
	}}
	return fetch(ctx, transport, t, to)
}
