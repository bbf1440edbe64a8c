package virtnettest_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/virtnettest"
)

func TestHelpers(t *testing.T) {
	virtnettest.NoLeaks(t)
	sub := newMemnet(1, fault{})[0]
	t.Cleanup(func() { _ = sub.Close() })

	var c, d net.Conn
	t.Run("use", func(t *testing.T) {
		hosts := virtnettest.NewHosts(t, sub, "α", "β")
		if sub.Host("α") != hosts[0] || sub.Host("β") != hosts[1] {
			t.Fatalf("NewHosts returns %v", hosts)
		}
		c, d = virtnettest.Connect(t, hosts[0], hosts[1])
		if got, want := c.RemoteAddr().String(), "β:2"; got != want {
			t.Errorf("RemoteAddr = %s, want %s", got, want)
		}
		go io.WriteString(c, "hello")
		buf := make([]byte, 5)
		if _, err := io.ReadFull(d, buf); err != nil || string(buf) != "hello" {
			t.Errorf("read %q, %v", buf, err)
		}
		if _, err := hosts[1].Listen(context.Background(), ":1"); err != nil {
			t.Errorf("Connect keeps listening: %v", err)
		}
	})
	if sub.Host("α") != nil || sub.Host("β") != nil {
		t.Error("hosts are there after the test")
	}
	for _, conn := range []net.Conn{c, d} {
		if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("connection after the test: %v", err)
		}
	}
}

// leakEnv makes TestLeak leak.
const leakEnv = "VIRTNETTEST_LEAK"

// TestLeak leaks a goroutine if it is told to. It is for TestNoLeaks, in a process of its own.
func TestLeak(t *testing.T) {
	virtnettest.NoLeaks(t)
	short := make(chan struct{})
	go func() { <-short }()
	t.Cleanup(func() { close(short) })
	if os.Getenv(leakEnv) != "" {
		go leakForever()
	}
}

func leakForever() { select {} }

func TestNoLeaks(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLeak$")
	cmd.Env = append(os.Environ(), leakEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "1 goroutines are left") || !strings.Contains(string(out), "leakForever") {
		t.Errorf("a leak is not reported: %v\n%s", err, out)
	}
}
