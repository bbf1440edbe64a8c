package peer

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

// within fails the test if f takes longer than it ever should.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: not done after 20 s", what)
	}
}

// TestStreams checks that each peer opens streams over each carrier, and carries bytes both ways.
func TestStreams(t *testing.T) {
	for _, p := range All {
		for _, over := range []string{"tcp", "tls"} {
			t.Run(p.Name+"/"+over, func(t *testing.T) {
				n, err := p.Open(over)
				if err != nil {
					t.Fatal(err)
				}
				defer n.Close()
				within(t, "streams", func() {
					for range 3 {
						if err := oneStream(n); err != nil {
							t.Error(err)
						}
					}
				})
			})
		}
	}
}

// oneStream opens a stream, sends a message there and another back, and closes it from the server's end.
func oneStream(n Net) error {
	served := make(chan error, 1)
	go func() {
		c, err := n.Accept()
		if err != nil {
			served <- err
			return
		}
		if _, err = io.ReadFull(c, make([]byte, 4)); err == nil {
			_, err = c.Write([]byte("answer"))
		}
		c.Close()
		served <- err
	}()
	c, err := n.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("call")); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err == nil && string(got) != "answer" {
		err = io.ErrUnexpectedEOF
	}
	if served := <-served; served != nil {
		return served
	}
	return err
}

// TestClose checks that Close ends the Accepts that wait, and streams.
func TestClose(t *testing.T) {
	for _, p := range All {
		t.Run(p.Name, func(t *testing.T) {
			n, err := p.Open("tcp")
			if err != nil {
				t.Fatal(err)
			}
			c, err := n.Dial()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			s, err := n.Accept()
			if err != nil {
				t.Fatal(err)
			}
			accepts := make(chan error, 2)
			for _, accept := range []func() (net.Conn, error){n.Accept, n.AcceptBack} {
				go func() {
					_, err := accept()
					accepts <- err
				}()
			}
			within(t, "Close", n.Close)
			within(t, "Accept", func() {
				for range 2 {
					if err := <-accepts; err == nil {
						t.Error("an Accept that waited during Close has no error")
					}
				}
			})
			c.Close()
			within(t, "Read", func() {
				for buf := make([]byte, 16); ; {
					if _, err := s.Read(buf); err != nil {
						return
					}
				}
			})
		})
	}
}

// TestOpenFails checks that nothing is left of a peer that cannot be set up.
func TestOpenFails(t *testing.T) {
	if _, err := All[1].Open("pigeon"); err == nil {
		t.Error("over an unknown carrier: no error")
	}
	for _, p := range All[1:] {
		c, err := carrier.Open("tcp")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if _, err := p.open(c); err == nil {
			t.Errorf("%s: over a closed carrier: no error", p.Name)
		}
	}
}

func TestByName(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range All {
		if seen[p.Name] {
			t.Errorf("two peers are named %s", p.Name)
		}
		seen[p.Name] = true
		if p.Settings == "" {
			t.Errorf("%s: nothing is said about its settings", p.Name)
		}
		if got, err := ByName(p.Name); err != nil || got.Name != p.Name {
			t.Errorf("ByName(%q) = %q, %v", p.Name, got.Name, err)
		}
	}
	if _, err := ByName("quic"); err == nil || !strings.Contains(err.Error(), "tcp, mux") {
		t.Errorf("an unknown name: %v, want an error that lists the names", err)
	}
}
