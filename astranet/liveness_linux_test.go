package astranet_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
)

// A road is two network namespaces with a router between them, a third.
type road struct {
	near, router, far string
	address           string // of far
}

// newRoad makes one, or leaves the test out where only root may.
func newRoad(t *testing.T) *road {
	t.Helper()
	needs.Program(t, "ip")
	base := fmt.Sprintf("vn%d-", os.Getpid())
	r := &road{base + "n", base + "r", base + "f", "192.0.2.6"}
	if out, err := exec.Command("ip", "netns", "add", r.router).CombinedOutput(); err != nil {
		t.Logf("ip netns add: %v: %s", err, out)
		needs.Program(t, "ip netns, which wants root")
	}
	t.Cleanup(func() {
		for _, ns := range []string{r.near, r.router, r.far} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	for _, c := range []string{
		"ip netns add " + r.near, "ip netns add " + r.far,
		"ip -n " + r.router + " link add rn type veth peer name e netns " + r.near,
		"ip -n " + r.router + " link add rf type veth peer name e netns " + r.far,
		"ip -n " + r.near + " addr add 192.0.2.2/30 dev e", "ip -n " + r.far + " addr add 192.0.2.6/30 dev e",
		"ip -n " + r.router + " addr add 192.0.2.1/30 dev rn", "ip -n " + r.router + " addr add 192.0.2.5/30 dev rf",
		"ip -n " + r.near + " link set e up", "ip -n " + r.far + " link set e up",
		"ip -n " + r.router + " link set rn up", "ip -n " + r.router + " link set rf up",
		"ip -n " + r.near + " route add default via 192.0.2.1", "ip -n " + r.far + " route add default via 192.0.2.5",
	} {
		r.do(t, c)
	}
	r.forward(t, true)
	return r
}

func (r *road) do(t *testing.T, command string) {
	t.Helper()
	f := strings.Fields(command)
	if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// forward has the router pass packets on, or drop them and say nothing.
func (r *road) forward(t *testing.T, pass bool) {
	t.Helper()
	r.do(t, fmt.Sprintf("ip netns exec %s sh -c echo${IFS}%d>/proc/sys/net/ipv4/ip_forward", r.router, map[bool]int{true: 1}[pass]))
}

// wantLine waits for a line that a process says.
func wantLine(t *testing.T, o *other, want string) {
	t.Helper()
	select {
	case got, ok := <-o.lines:
		if !ok || got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no line, want %q", want)
	}
}

// A router on the way that drops packets is noticed within 3 s; when it passes them again there is a link again.
func TestDropped(t *testing.T) {
	r := newRoad(t)
	s := start(t, r.far, "listen "+r.address+":0")
	c := start(t, r.near, "join "+s.first)
	if c.first != "routes 1" {
		t.Fatalf("got %q", c.first)
	}
	time.Sleep(1500 * time.Millisecond) // the keep-alives go on
	r.forward(t, false)
	begin := time.Now()
	wantLine(t, c, "routes 0")
	if d := time.Since(begin); d < time.Second || d > 3500*time.Millisecond {
		t.Errorf("noticed after %v, want 2 s to 3 s", d)
	} else {
		t.Logf("noticed after %v", d)
	}
	r.forward(t, true)
	wantLine(t, c, "routes 1")
}

// A link of 1 Mbit/s, with a queue of half a second, that is full in both directions for a minute is not dropped.
func TestSaturatedReal(t *testing.T) {
	if !long() {
		t.Skip("takes a minute: VIRTNET_TEST_LONG=1 runs it")
	}
	needs.Program(t, "tc")
	r := newRoad(t)
	for _, dev := range []string{"rn", "rf"} {
		r.do(t, "tc -n "+r.router+" qdisc add dev "+dev+" root tbf rate 1mbit burst 5k latency 500ms")
	}
	s := start(t, r.far, "listen "+r.address+":0")
	c := start(t, r.near, "saturate "+s.first)
	if c.first != "routes 1" {
		t.Fatalf("got %q", c.first)
	}
	var last string
	for end := time.After(time.Minute); ; {
		select {
		case line := <-c.lines:
			if last = line; !strings.HasPrefix(line, "bytes ") || !strings.HasSuffix(line, " <nil>") {
				t.Fatalf("got %q", line)
			}
			continue
		case <-end:
		}
		break
	}
	var total int
	if _, err := fmt.Sscanf(last, "bytes %d", &total); err != nil || total < 60*1e6/8/2 {
		t.Errorf("got %q at last, %v, want half of what the link takes, at least", last, err)
	}
	t.Log(last)
}
