package proxy

import (
	"context"
	"errors"
	"net"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// A call is what becomes of one thing that a client wants: it is refused, or there is a virtual connection, which ends.
type call struct {
	p *Proxy
	e Event // as far as it is known
}

func (p *Proxy) call(c *client, protocol Protocol, to string) *call {
	return &call{p, Event{Conn: int(p.calls.Add(1)), Protocol: protocol, From: c.RemoteAddr(), To: to}}
}

// errGone says that nobody waits for an answer any more.
var errGone = errors.New("the client has gone, or the proxy ends")

func (c *call) refused(err error) {
	c.e.Kind, c.e.Err = Refused, err
	c.p.config.tell(c.e)
}

func (c *call) opened(up net.Conn) {
	c.e.Kind, c.e.Via, c.e.Peer = Opened, up.LocalAddr(), up.RemoteAddr()
	c.p.config.tell(c.e)
}

func (c *call) ended(sent, received int64, err error) {
	c.e.Kind, c.e.Sent, c.e.Received, c.e.Err = Ended, sent, received, err
	c.p.config.tell(c.e)
}

// tunnel joins the client's connection to the virtual one, until both have ended. early is what the client has sent
// already.
func (c *call) tunnel(ctx context.Context, from net.Conn, early []byte, up net.Conn) {
	if len(early) > 0 {
		stop := context.AfterFunc(ctx, func() { bridge.Reset(up) })
		_, err := up.Write(early)
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			bridge.Reset(up)
			bridge.Reset(from)
			c.ended(0, 0, err)
			return
		}
	}
	r := bridge.Join(ctx, from, up)
	c.ended(int64(len(early))+r.AtoB, r.BtoA, r.Err)
}
