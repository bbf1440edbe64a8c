package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/xnet"
)

type command func(p *peer, ctx context.Context, r request) (reply, error)

// commands are what a test can want. What closes an object keeps it, so that it can be used further, and fail.
var commands = map[string]command{
	"join":     join,
	"new host": newHost,
	"host":     hasHost,
	"listen":   listen,
	"accept":   accept,
	"dial":     dial,
	"echo":     startEcho,
	"send":     send,
	"recv":     recv,
	"flood":    flood,
	"send sum": sendSum,
	"recv sum": recvSum,
	"end":      halfClose,
	"close":    closeObject,
	"forget":   forget,
	"usage":    usage,
	"child":    child,
}

func join(p *peer, ctx context.Context, r request) (reply, error) {
	sub, err := lonet.Config{TempDir: r.Temp, Backlog: r.Backlog}.Join(ctx, r.Name)
	if err != nil {
		return reply{}, err
	}
	return reply{Obj: p.enter(sub), Net: sub.Network()}, nil
}

func newHost(p *peer, ctx context.Context, r request) (reply, error) {
	sub, err := on[*virtnet.SubNetwork](p, r)
	if err != nil {
		return reply{}, err
	}
	h, err := sub.NewHost(ctx, r.Name)
	if err != nil {
		return reply{}, err
	}
	return reply{Obj: p.enter(h), Name: h.Name(), Net: h.Network()}, nil
}

func hasHost(p *peer, _ context.Context, r request) (reply, error) {
	sub, err := on[*virtnet.SubNetwork](p, r)
	return reply{Is: err == nil && sub.Host(r.Name) != nil}, err
}

func listen(p *peer, ctx context.Context, r request) (reply, error) {
	h, err := on[*virtnet.Host](p, r)
	if err != nil {
		return reply{}, err
	}
	l, err := h.Listen(ctx, r.Addr)
	if err != nil {
		return reply{}, err
	}
	return reply{Obj: p.enter(l), Net: l.Addr().Network(), Local: l.Addr().String()}, nil
}

func accept(p *peer, ctx context.Context, r request) (reply, error) {
	l, err := on[xnet.Listener](p, r)
	if err != nil {
		return reply{}, err
	}
	return p.connected(l.Accept(ctx))
}

func dial(p *peer, ctx context.Context, r request) (reply, error) {
	h, err := on[*virtnet.Host](p, r)
	if err != nil {
		return reply{}, err
	}
	return p.connected(h.Dial(ctx, r.Addr))
}

func (p *peer) connected(c net.Conn, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{Obj: p.enter(c), Net: c.LocalAddr().Network(), Local: c.LocalAddr().String(), Remote: c.RemoteAddr().String()}, nil
}

func startEcho(p *peer, _ context.Context, r request) (reply, error) {
	l, err := on[xnet.Listener](p, r)
	if err == nil {
		go echo(l)
	}
	return reply{}, err
}

// limited returns the connection of a request, with the deadline that the request has, or none.
func limited(p *peer, r request, set func(net.Conn, time.Time) error) (net.Conn, error) {
	c, err := on[net.Conn](p, r)
	if err != nil {
		return nil, err
	}
	var until time.Time
	if r.Timeout != nil {
		until = time.Now().Add(seconds(*r.Timeout))
	}
	_ = set(c, until) // of a connection that is down, the operation itself says so
	return c, nil
}

func send(p *peer, _ context.Context, r request) (reply, error) {
	c, err := limited(p, r, net.Conn.SetWriteDeadline)
	if err != nil {
		return reply{}, err
	}
	n, err := c.Write(r.Data)
	return reply{Size: int64(n)}, err
}

// recv receives at most as many bytes as the request says. None is the end.
func recv(p *peer, _ context.Context, r request) (reply, error) {
	c, err := limited(p, r, net.Conn.SetReadDeadline)
	if err != nil {
		return reply{}, err
	}
	buf := make([]byte, r.Size)
	n, err := c.Read(buf)
	if err == io.EOF {
		err = nil
	}
	return reply{Data: buf[:n]}, err
}

// flood writes until that fails.
func flood(p *peer, _ context.Context, r request) (reply, error) {
	c, err := limited(p, r, net.Conn.SetWriteDeadline)
	block := make([]byte, 1<<16)
	for err == nil {
		_, err = c.Write(block)
	}
	return reply{}, err
}

// sendSum sends as many random bytes as the request says, in pieces of all sizes, and returns their checksum.
func sendSum(p *peer, _ context.Context, r request) (reply, error) {
	c, err := on[net.Conn](p, r)
	if err != nil {
		return reply{}, err
	}
	sum, rng := sha256.New(), rand.NewChaCha8([32]byte{byte(r.Size)})
	block := make([]byte, 1<<18)
	for left, step := r.Size, int64(1); left > 0; step = step*3%int64(len(block)) + 1 {
		piece := block[:min(step, left)]
		_, _ = rng.Read(piece)
		sum.Write(piece)
		if _, err := c.Write(piece); err != nil {
			return reply{}, err
		}
		left -= int64(len(piece))
	}
	return reply{Size: r.Size, Sum: hex.EncodeToString(sum.Sum(nil))}, nil
}

// recvSum reads as many bytes, or all there is until the end, and returns their checksum.
func recvSum(p *peer, _ context.Context, r request) (reply, error) {
	c, err := on[net.Conn](p, r)
	if err != nil {
		return reply{}, err
	}
	var from io.Reader = struct{ io.Reader }{c}
	if r.Size > 0 {
		from = io.LimitReader(from, r.Size)
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, from, make([]byte, 1<<18))
	return reply{Size: n, Sum: hex.EncodeToString(sum.Sum(nil))}, err
}

func halfClose(p *peer, _ context.Context, r request) (reply, error) {
	c, err := on[*virtnet.Conn](p, r)
	if err != nil {
		return reply{}, err
	}
	return reply{}, c.CloseWrite()
}

func closeObject(p *peer, _ context.Context, r request) (reply, error) {
	c, err := on[io.Closer](p, r)
	if err != nil {
		return reply{}, err
	}
	return reply{}, c.Close()
}

// forget drops all objects.
func forget(p *peer, _ context.Context, _ request) (reply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.objs)
	return reply{}, nil
}

// usage tells how many descriptors and goroutines there are, as Size and Obj.
func usage(*peer, context.Context, request) (reply, error) {
	open, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return reply{Size: int64(len(open)), Obj: runtime.NumGoroutine()}, err
}

// child starts a process that inherits nothing and lives on for a minute, and returns its pid.
func child(*peer, context.Context, request) (reply, error) {
	exe, err := os.Executable()
	if err != nil {
		return reply{}, err
	}
	cmd := exec.Command(exe, "live on")
	if err := cmd.Start(); err != nil {
		return reply{}, err
	}
	go func() { _ = cmd.Wait() }()
	return reply{Obj: cmd.Process.Pid}, nil
}
