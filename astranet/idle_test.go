package astranet_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

func init() { children["holder"] = holderChild }

// holding is what a process has.
type holding struct {
	Conns      int
	Bytes      int64 // what the heap's live objects take, and stacks
	RSS        int64 // what the kernel says, 0 if it does not
	Goroutines int
}

func hold(conns int) holding {
	for range 3 { // pools are emptied by the second collection
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return holding{conns, int64(m.HeapAlloc + m.StackInuse), resident(), runtime.NumGoroutine()}
}

// resident is the process's resident memory.
func resident() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb int64
	_, _ = fmt.Sscan(rest, &kb)
	return kb << 10
}

// holderChild joins a node, binds "idle" and keeps what it accepts. For every line of its input it says what it holds; at "close" it
// closes that first.
func holderChild() int {
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	n := astranet.New()
	defer n.Close()
	l, err := n.Bind("", "idle")
	if err != nil {
		return failed(err)
	}
	var mu sync.Mutex
	var held []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			held = append(held, c)
			mu.Unlock()
		}
	}()
	if err := n.Join("tcp", in.Text()); err != nil {
		return failed(err)
	}
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(hold(0))
	for in.Scan() {
		mu.Lock()
		if in.Text() == "close" {
			for _, c := range held {
				_ = c.Close()
			}
			held = nil
		}
		held = slices.Clip(held)
		h := hold(len(held))
		mu.Unlock()
		_ = out.Encode(h)
	}
	return 0
}

// TestIdle has many idle connections between two processes, over one TCP connection: what they cost, how long a dial among
// them takes, and that nothing of them stays when they are closed.
func TestIdle(t *testing.T) {
	many := 20_000
	if long() {
		many = 1_000_000
	}
	if raceDetector {
		many = 2000
	}
	n, address := listening(t, astranet.Config{})
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPart+"=holder")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other process: %v", err)
		}
	}()
	said := json.NewDecoder(out)
	there := func(order string) (h holding) {
		t.Helper()
		fmt.Fprintln(in, order)
		if err := said.Decode(&h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	there(address)
	dial := func() net.Conn {
		c, err := n.DialTimeout("", "idle", patience)
		if err != nil {
			t.Error(err)
			return nil
		}
		return c
	}
	dials := func() time.Duration { return medianDial(dial) }

	alone := dials()
	there("close")
	conns := make([]net.Conn, many)
	here0, there0 := hold(0), there("close")
	start := time.Now()
	openAll(conns, dial)
	t.Logf("%d connections opened in %v", many, time.Since(start).Round(time.Millisecond))
	if t.Failed() {
		t.FailNow()
	}
	time.Sleep(200 * time.Millisecond) // acknowledgements may still be under way
	here1, there1 := hold(many), there("")
	if there1.Conns != many {
		t.Errorf("the other process holds %d connections, want %d", there1.Conns, many)
	}
	among := dials()
	runtime.KeepAlive(conns)
	for _, p := range []struct {
		name          string
		before, after holding
		mine          int64 // bytes that are the test's
	}{{"dialler", here0, here1, 0}, {"listener", there0, there1, 16}} {
		bytes := (p.after.Bytes-p.before.Bytes)/int64(many) - p.mine
		t.Logf("%s: %d bytes a connection, %d of resident memory, %d goroutines more",
			p.name, bytes, (p.after.RSS-p.before.RSS)/int64(many)-p.mine, p.after.Goroutines-p.before.Goroutines)
		if bytes > 450 && !raceDetector {
			t.Errorf("the %s has %d bytes for each connection, want 450 at most", p.name, bytes)
		}
		if p.after.Goroutines > p.before.Goroutines+8 {
			t.Errorf("the %s has %d goroutines, and had %d", p.name, p.after.Goroutines, p.before.Goroutines)
		}
	}
	t.Logf("a dial takes %v, and %v among them", alone, among)
	if among > 5*alone && !raceDetector {
		t.Errorf("a dial takes %v among them, and %v alone", among, alone)
	}

	start = time.Now()
	for _, c := range conns {
		_ = c.Close()
	}
	clear(conns)
	here2, there2 := flat(here0, func() holding { return hold(0) }), flat(there0, func() holding { return there("close") })
	t.Logf("closed after %v: %d and %d bytes more than at first, %d and %d of resident memory", time.Since(start).Round(time.Millisecond),
		here2.Bytes-here0.Bytes, there2.Bytes-there0.Bytes, here2.RSS-here0.RSS, there2.RSS-there0.RSS)
	runtime.KeepAlive(conns)
	for name, p := range map[string][2]holding{"dialler": {here0, here2}, "listener": {there0, there2}} {
		if more := p[1].Bytes - p[0].Bytes; more > mostLeft {
			t.Errorf("when all are closed the %s has %d bytes more than before", name, more)
		}
	}
}

// mostLeft is what may be left when all connections are closed: buffers of what was busy a moment ago.
const mostLeft = 1 << 20

// flat waits until a process has no more than before, or it is too late for that.
func flat(before holding, now func() holding) holding {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		h := now()
		if h.Bytes-before.Bytes <= mostLeft && h.Goroutines <= before.Goroutines || time.Now().After(end) {
			return h
		}
	}
}

// medianDial returns how long a dial takes.
func medianDial(dial func() net.Conn) time.Duration {
	var took []time.Duration
	for range 500 {
		start := time.Now()
		c := dial()
		took = append(took, time.Since(start))
		if c == nil {
			break
		}
		_ = c.Close()
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// openAll dials all of them, several at once.
func openAll(conns []net.Conn, dial func() net.Conn) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); int(i) <= len(conns); i = next.Add(1) {
				if conns[i-1] = dial(); conns[i-1] == nil {
					return
				}
			}
		})
	}
	wg.Wait()
}
