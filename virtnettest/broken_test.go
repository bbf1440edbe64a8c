package virtnettest_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/virtnettest"
)

// faults are of the kinds that networks have had.
var faults = []fault{{
	name:   "dialled connection does not know where it was accepted",
	clause: "PortAccepted",
	dial: func(s *memsub, ctx context.Context, src, dst *virtnet.Addr, to *memsub) (net.Conn, *virtnet.Addr, error) {
		c, _, err := s.dial(ctx, src, dst, to)
		return c, dst, err
	},
}, {
	name:   "dial is given up here and not there",
	clause: "QueueNoGhosts",
	dial: func(s *memsub, ctx context.Context, src, dst *virtnet.Addr, to *memsub) (net.Conn, *virtnet.Addr, error) {
		type result struct {
			c   net.Conn
			a   *virtnet.Addr
			err error
		}
		done := make(chan result, 1)
		go func() {
			c, a, err := s.dial(context.WithoutCancel(ctx), src, dst, to)
			done <- result{c, a, err}
		}()
		select {
		case r := <-done:
			return r.c, r.a, r.err
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	},
}, {
	name:   "refusal is not ErrConnRefused",
	clause: "DialErrors",
	dial: func(s *memsub, ctx context.Context, src, dst *virtnet.Addr, to *memsub) (net.Conn, *virtnet.Addr, error) {
		c, a, err := s.dial(ctx, src, dst, to)
		if errors.Is(err, virtnet.ErrConnRefused) {
			err = errors.New(err.Error())
		}
		return c, a, err
	},
}, {
	name:   "registry's error is bare",
	clause: "DialRegistryError",
	query:  func(err error) error { return virtnet.ErrNoHost },
}, {
	name:   "names stay",
	clause: "NameFreeAfterHostClose",
	stay:   true,
}, {
	name:   "write loses bytes",
	clause: "TransferBothWays",
	conn:   func(c net.Conn) net.Conn { return forgetful{c} },
}, {
	name:   "no deadlines",
	clause: "Deadlines",
	says:   "has not returned after 10s of virtual time",
	conn:   func(c net.Conn) net.Conn { return timeless{c} },
}}

// forgetful swaps two bytes of a long write.
type forgetful struct{ net.Conn }

func (f forgetful) Write(b []byte) (int, error) {
	if len(b) > 1000 {
		b = slices.Clone(b)
		b[500], b[501] = b[501], b[500]
	}
	return f.Conn.Write(b)
}

// timeless ignores deadlines.
type timeless struct{ net.Conn }

func (timeless) SetDeadline(time.Time) error      { return nil }
func (timeless) SetReadDeadline(time.Time) error  { return nil }
func (timeless) SetWriteDeadline(time.Time) error { return nil }

// brokenEnv names the fault for TestBroken.
const brokenEnv = "VIRTNETTEST_FAULT"

// TestBroken runs the suite on a network with a fault. It is for TestFaults, in a process of its own.
func TestBroken(t *testing.T) {
	i := slices.IndexFunc(faults, func(f fault) bool { return f.name == os.Getenv(brokenEnv) })
	if i < 0 {
		t.Skip("TestFaults runs this")
	}
	virtnettest.TestNetwork(t, memNetwork(faults[i], true))
}

// A clause that is skipped in a bubble is skipped, and does not pass.
func TestSkipped(t *testing.T) {
	const clause = "TestMemnetBubble/OneSubNetwork/ConnHalfClose" // a net.Pipe has none
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+strings.ReplaceAll(clause, "/", "$/^")+"$")
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"--- SKIP: " + clause, "no half close"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, want %q:\n%s", err, want, out)
		}
	}
}

// The suite finds each fault, by the clause that is about it, and says what is demanded.
func TestFaults(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestBroken$/^TwoSubNetworks$/^"+f.clause+"$")
			cmd.Env = append(os.Environ(), brokenEnv+"="+f.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the clause %s passes:\n%s", f.clause, out)
			}
			if want := "--- FAIL: TestBroken/TwoSubNetworks/" + f.clause; !strings.Contains(string(out), want) {
				t.Errorf("want %q:\n%s", want, out)
			}
			for _, want := range []string{"what is demanded: ", f.says} {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
}
