package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/virtnet/virtnet"
)

var errUnknown = errors.New("unknown command, or object")

// failure is an error, as the tests see it.
type failure struct {
	Kind   string `json:"kind"`
	Text   string `json:"text"`
	Op     string `json:"op"`
	Net    string `json:"net"`
	Source string `json:"source"`
	Addr   string `json:"addr"`
}

// kinds are what tests tell apart, the first that fits counts.
var kinds = []struct {
	err  error
	kind string
}{
	{virtnet.ErrNetDown, "net down"},
	{virtnet.ErrHostDown, "host down"},
	{virtnet.ErrSockDown, "sock down"},
	{virtnet.ErrAddrAlreadyUsed, "used"},
	{virtnet.ErrAddrNoListen, "no listen"},
	{virtnet.ErrConnRefused, "refused"},
	{virtnet.ErrNoHost, "no host"},
	{virtnet.ErrHostDup, "dup"},
	{context.DeadlineExceeded, "timeout"},
	{os.ErrDeadlineExceeded, "timeout"},
	{syscall.ECONNRESET, "reset"},
	{syscall.EPIPE, "pipe"},
	{io.EOF, "eof"},
}

// failed returns err as a failure, nil if it is nil.
func failed(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Kind: "other", Text: err.Error()}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			f.Kind = k.kind
			break
		}
	}
	var ae *net.AddrError
	if errors.As(err, &ae) || strings.Contains(f.Text, "invalid name") {
		f.Kind = "invalid"
	}
	var oe *net.OpError
	if errors.As(err, &oe) {
		f.Op, f.Net, f.Source, f.Addr = oe.Op, oe.Net, text(oe.Source), text(oe.Addr)
	}
	return f
}

func text(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
