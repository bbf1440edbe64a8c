package astranet_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
)

func init() { children["wire"] = wireChild }

const (
	wirePattern = "All that is told here is between the two of us, and nobody else." // 64 bytes
	wireTimes   = 1000
	wireService = "payroll-service"
)

// wireRole is what a process does on the wire.
type wireRole struct {
	Listen, Join string
	Credentials  *ca.Material
}

// wireChild is a node that sends the pattern to a service, which returns it, or has the service until its input ends.
func wireChild() int {
	in := json.NewDecoder(os.Stdin)
	var r wireRole
	if err := in.Decode(&r); err != nil {
		return failed(err)
	}
	cfg := astranet.Config{Insecure: r.Credentials == nil}
	if r.Credentials != nil {
		var err error
		if cfg.Credentials, err = ca.New(*r.Credentials); err != nil {
			return failed(err)
		}
	}
	n := cfg.New()
	defer n.Close()
	var err error
	if r.Listen != "" {
		err = wireListen(n, r.Listen)
	} else {
		err = wireSend(n, r.Join)
	}
	if err != nil {
		return failed(err)
	}
	return 0
}

func wireListen(n astranet.AstraNet, address string) error {
	l, err := n.Bind("", wireService)
	if err != nil {
		return err
	}
	go echoAll(l)
	if err := n.ListenAndServe("tcp", address); err != nil {
		return err
	}
	fmt.Println(n.Addrs()[0])
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func wireSend(n astranet.AstraNet, address string) error {
	if err := n.Join("tcp", address); err != nil {
		return err
	}
	c, err := n.DialTimeout("", wireService, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	back := make([]byte, len(wirePattern))
	for range wireTimes {
		if _, err := io.WriteString(c, wirePattern); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, back); err != nil || string(back) != wirePattern {
			return fmt.Errorf("got %q, %v", back, err)
		}
	}
	fmt.Println("done")
	return nil
}

// startWire starts a process in a network namespace, and returns the first line that it says.
func startWire(t *testing.T, in string, r wireRole) string {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", in, os.Args[0])
	cmd.Env = append(os.Environ(), childPart+"=wire")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
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
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process in %s: %v", in, err)
		}
	})
	if err := json.NewEncoder(stdin).Encode(r); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// A tap has all that passes in a network namespace.
type tap struct {
	fd    int
	ended atomic.Bool
	all   chan []byte // takes all packets, at the end
}

// newTap opens a packet socket in a namespace, which only the thread that opens it enters.
func newTap(t *testing.T, namespace string) *tap {
	t.Helper()
	w := &tap{all: make(chan []byte, 1)}
	opened := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		opened <- w.open(filepath.Join("/var/run/netns", namespace))
	}()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	go w.read()
	return w
}

func (w *tap) open(namespace string) error {
	ns, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return err
	}
	var every [2]byte // in network order
	binary.BigEndian.PutUint16(every[:], unix.ETH_P_ALL)
	w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16(every[:])))
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		return err
	}
	return unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
}

// read reads until the end, and then until nothing has passed for a while.
func (w *tap) read() {
	var all []byte
	b := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(w.fd, b, 0)
		switch {
		case err == nil:
			all = append(append(all, b[:n]...), 0) // a byte between: nothing is made of two packets
		case w.ended.Load():
			w.all <- all
			return
		}
	}
}

// stop returns what has passed. Nothing of it may have been lost.
func (w *tap) stop(t *testing.T) []byte {
	t.Helper()
	w.ended.Store(true)
	all := <-w.all
	defer unix.Close(w.fd)
	switch s, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); {
	case err != nil:
		t.Error(err)
	case s.Drops > 0:
		t.Errorf("%d packets were missed", s.Drops)
	default:
		t.Logf("%d packets, %d bytes", s.Packets, len(all))
	}
	return all
}

// Of what two nodes with credentials say to each other nothing can be read on the wire: no payload, and no name of a service or node, though
// the certificates have them. Of nodes without, all of it can: so the test would see it.
func TestWire(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secured), func(t *testing.T) {
			r := newRoad(t)
			server, client := wireRole{Listen: r.address + ":0"}, wireRole{}
			if secured {
				mesh := namedCA(t, "payroll-mesh")
				s, c := material(t, mesh, "payroll-server"), material(t, mesh, "spiffe://payroll/client")
				server.Credentials, client.Credentials = &s, &c
			}
			w := newTap(t, r.router)
			client.Join = startWire(t, r.far, server)
			if said := startWire(t, r.near, client); said != "done" {
				t.Fatalf("the client says %q", said)
			}
			all := w.stop(t)
			if n := bytes.Count(all, []byte(wirePattern)); secured && n > 0 || !secured && n < 2*wireTimes {
				t.Errorf("the payload was seen %d times", n)
			}
			if n := bytes.Count(all, []byte("payroll")); secured && n > 0 || !secured && n == 0 {
				t.Errorf("names were seen %d times", n)
			}
			for part := range slices.Chunk([]byte(wirePattern), 16) {
				if secured && bytes.Contains(all, part) {
					t.Errorf("a part of the payload was seen: %q", part)
				}
			}
			if !bytes.Contains(all, []byte{0x16, 3, 1}) && secured {
				t.Error("no TLS was seen")
			}
		})
	}
}
