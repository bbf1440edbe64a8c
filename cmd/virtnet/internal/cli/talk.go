package cli

import (
	"context"
	"io"
	"net"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// What lo listen and lo dial have in common: a connection on standard input and output.

const talkHelp = `The end of standard input ends what is sent, and not what is received. It is over when
the other side has ended as well and all is written. Where standard input is a terminal,
the other side's end is enough, for most often nobody is there any more; and nothing is
read from it in the background, as with "&".

Standard output is the data, so -v and --json tell of connections on standard error.
There are no lines for people with --json, except for an error at the end.`

// A talk is a command that talks with one connection, or with one after the other.
type talk struct {
	tell   *teller
	in     io.Reader // nil if nothing is sent
	out    io.Writer // is closed when the other side has ended, if it is an io.Closer
	keep   bool      // a connection that is reset is no end of the command, so it must be said
	number int       // of connections so far
}

// with joins a connection to standard input and output, until both have ended. With dialled it is one of ours to
// another, else one of another to us.
func (k *talk) with(ctx context.Context, conn net.Conn, dialled bool) error {
	defer readInBackground()()
	bridge.Guard(conn)
	k.number++
	e := event{Kind: eventOpen, Conn: k.number, From: conn.RemoteAddr().String(), To: conn.LocalAddr().String()}
	var from, to net.Conn = conn, newStdio(k.in, k.out)
	if dialled {
		e.From, e.To = e.To, e.From
		from, to = to, from
	}
	k.tell.tell(e, false)
	r := bridge.Join(ctx, from, to)
	k.tell.tell(e.ended(r), k.keep && r.Err != nil)
	return r.Err
}
