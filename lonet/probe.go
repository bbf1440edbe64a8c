package lonet

import (
	"context"
	"errors"
	"syscall"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet/internal/registry"
)

// probe is the registry's Prober.
func (e *engine) probe(ctx context.Context, osladdr, hostname string) (registry.Answer, error) {
	return probe(ctx, e.network, osladdr, hostname)
}

// probe asks the process at osladdr whether it has the host of the network, whose full name it is given, by a dial of
// the host's port 0, where nobody ever listens.
func probe(ctx context.Context, network, osladdr, hostname string) (registry.Answer, error) {
	c, err := dialer.DialContext(ctx, "tcp4", osladdr)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return registry.Nobody, nil
	case err != nil && ctx.Err() != nil:
		return registry.Silent, nil
	case err != nil:
		return registry.Silent, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(aLongTimeAgo) })()

	buf := lineBuffers.Get().(*lineBuffer)
	defer lineBuffers.Put(buf)
	host0 := (&virtnet.Addr{Host: hostname}).String()
	_, err = c.Write(request{network, host0, host0}.append(buf[:0]))
	n := 0
	if err == nil {
		n, err = readLine(c, buf, 0, maxLine)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return registry.Silent, nil
	case err != nil:
		return registry.Nobody, nil // lonet answers every request
	}
	line, _ := splitLine(buf[:n])
	rep, ok := parseReply(line)
	switch {
	case !ok || rep.network != network:
		return registry.Nobody, nil
	case rep.saysNoHost():
		return registry.NoSuchHost, nil
	}
	return registry.Present, nil
}
