package astranet_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// openFiles returns how many files the process has open, 0 where that cannot be known.
func openFiles() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all)
}

// Strangers who say nothing, or garbage, cost the node a bounded number of goroutines and descriptors; who is honest gets in
// meanwhile.
func TestStrangers(t *testing.T) {
	crowd := 600
	if long() {
		crowd = 10000
	}
	creds := meshOf(t, "server", "client")
	says := map[string]string{
		"silent": "", "garbage": strings.Repeat("garbage\r\n", 100), "cut off": "astra", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01",
	}
	for _, network := range []string{"tcp", "ws"} {
		for _, secured := range []bool{false, true} {
			for kind, what := range says {
				t.Run(fmt.Sprintf("%s, TLS %v, %s", network, secured, kind), func(t *testing.T) {
					cs, cc := astranet.Config{HalfOpen: mostStrangers}, astranet.Config{}
					if secured {
						cs.Credentials, cc.Credentials = creds[0], creds[1]
					}
					besiege(t, network, cs, cc, what, crowd)
				})
			}
		}
	}
}

const (
	mostStrangers = 64  // may be half open
	crew          = 100 // strangers at once
	held          = 5   // connections that each of them holds
)

func besiege(t *testing.T, network string, cs, cc astranet.Config, says string, crowd int) {
	s, c := newNode(t, cs), newNode(t, cc)
	bindEcho(t, s)
	if err := s.ListenAndServe(network, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	addr := s.Addrs()[0].String()
	host, _, _ := strings.Cut(addr, "/")
	goroutines, files := runtime.NumGoroutine(), openFiles()
	over := make(chan struct{})
	var strangers, watch sync.WaitGroup
	for range crew {
		strangers.Go(func() { pester(host, says, crowd/crew) })
	}
	var mostGoroutines, mostFiles int
	watch.Go(func() {
		for {
			mostGoroutines, mostFiles = max(mostGoroutines, runtime.NumGoroutine()), max(mostFiles, openFiles())
			if n := astranet.HalfOpenNow(s); n > mostStrangers {
				t.Errorf("%d are half open", n)
			}
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	_ = c.Join(network, addr) // the first try may be pushed out
	wantEcho(t, c)
	strangers.Wait()
	close(over)
	watch.Wait()
	t.Logf("%d goroutines, %d descriptors at most, of the test and the node", mostGoroutines-goroutines, mostFiles-files)
	// The node may have twice as many as are half open, since those that it ends go a little later, each with up to six goroutines:
	// that of the handshake, one that writes, and what closes it.
	if most := goroutines + crew + 2*6*mostStrangers + 50; mostGoroutines > most {
		t.Errorf("%d goroutines, want %d at most", mostGoroutines, most)
	}
	if most := files + held*crew + 2*mostStrangers + 100; files > 0 && mostFiles > most {
		t.Errorf("%d descriptors, want %d at most", mostFiles, most)
	}
	eventually(t, "nothing half open", func() bool { return astranet.HalfOpenNow(s) == 0 })
}

// pester dials, says something and stays for a while, time and again.
func pester(host, says string, times int) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range times {
		c, err := net.Dial("tcp", host)
		if err != nil {
			continue
		}
		_, _ = io.WriteString(c, says)
		if conns = append(conns, c); len(conns) == held {
			conns[0].Close()
			conns = conns[1:]
		}
	}
}

// A stranger's connection is ended when one more comes than may be half open, and it is said why.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "ws"} {
		log := new(logText)
		s := newNode(t, astranet.Config{HalfOpen: 2, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err := s.ListenAndServe(network, "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		host, _, _ := strings.Cut(s.Addrs()[0].String(), "/")
		var conns []net.Conn
		for i := range 3 {
			c, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
			eventually(t, "accepted", func() bool { return astranet.HalfOpenNow(s) == min(i+1, 2) })
		}
		_ = conns[0].SetDeadline(time.Now().Add(patience))
		if _, err := conns[0].Read(make([]byte, 1000)); isTimeout(err) {
			t.Errorf("%s: the oldest is still open", network)
		}
		if network == "tcp" {
			want := "too many connections are no links yet, and this one was the oldest: see HalfOpen in the Config"
			eventually(t, want, func() bool { return strings.Contains(log.String(), want) })
		}
	}
}
