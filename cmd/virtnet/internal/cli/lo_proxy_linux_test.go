package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet/xnet"
)

// A thousand connections through one proxy, of all protocols and however they end, leave nothing: no descriptor, no
// goroutine, no port, no row.
func TestProxyMany(t *testing.T) {
	const many, atOnce = 1000, 50
	tempDir(t)
	www := newVirtualHost(t, "www")
	l := must[xnet.Listener](t)(www.Listen(t.Context(), ":80"))
	go func() { // an HTTP server that also answers what is not HTTP
		for {
			c, err := l.Accept(t.Context())
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
					io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nhello")
				}
			}()
		}
	}()
	p, addr := launchProxy(t)
	good := []string{
		"GET http://www/ HTTP/1.0\r\n\r\n",
		"CONNECT www:80 HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"\x05\x01\x00\x05\x01\x00\x03\x03www\x00\x50GET / HTTP/1.0\r\n\r\n",
	}
	bad := []string{
		"GET http://none/ HTTP/1.0\r\n\r\n",
		"CONNECT www:81 HTTP/1.0\r\n\r\n",
		"\x05\x01\x00\x05\x01\x00\x03\x03www\x00\x51",
		"\x05\x01\x00\x05\x09\x00\x03\x03www\x00\x51",
		"garbage\r\n\r\n",
		"\x05\x01",
		"GET http://www",
		"",
	}
	connect := func(i int) {
		c := dialTCP(t, addr)
		defer c.Close()
		if i < many {
			io.WriteString(c, good[i%len(good)])
			for answer := ""; !strings.HasSuffix(answer, "hell"); {
				b := make([]byte, 1)
				if _, err := c.Read(b); err != nil {
					t.Errorf("connection %d: %q, %v", i, answer, err)
					return
				}
				answer += string(b)
			}
		} else {
			io.WriteString(c, bad[i%len(bad)])
		}
		switch i / len(good) % 3 { // or it goes with something unread
		case 1:
			c.SetLinger(0)
		case 2:
			c.CloseWrite()
			io.Copy(io.Discard, c)
		}
	}
	exitsWith(t, curl(t, "--proxy", "http://"+addr, "http://www/"), 0, "hello")
	p.until(eventEnd)
	_, before := descriptors(t, p.cmd.Process.Pid)

	var clients sync.WaitGroup
	turns := make(chan int)
	for range atOnce {
		clients.Go(func() {
			for i := range turns {
				connect(i)
			}
		})
	}
	for i := range many + many/2 {
		turns <- i
	}
	close(turns)
	clients.Wait()

	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		// Package net keeps pipes that it splices through, and closes them when the collector finds time. If they
		// were left behind they would be four for each connection.
		pipes, others := descriptors(t, p.cmd.Process.Pid)
		if others <= before && pipes < many {
			t.Logf("the proxy has %d descriptors, and had %d; and %d pipes", others, before, pipes)
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the proxy has %d descriptors, and had %d; and %d pipes", others, before, pipes)
		}
	}
	var doc loJSON
	_, stdout, _ := run("lo", "ls", "tea", "--json")
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || len(doc.Networks[0].Hosts) != 2 || doc.Networks[0].Processes != 2 {
		t.Errorf("on the network: %v, %s", err, stdout)
	}
	for range many {
		p.until(eventEnd)
	}
	exitsWith(t, curl(t, "--proxytunnel", "--proxy", "http://"+addr, "http://www/"), 0, "hello")
	if e := p.until(eventEnd); e.Via != "β:1" || e.Accepted != "www:1" {
		t.Errorf("the ports of another connection are %s and %s, want the first ones", e.Via, e.Accepted)
	}
	p.signal(syscall.SIGQUIT) // prints the stacks
	<-p.done
	ours := 0
	for stack := range strings.SplitSeq(p.lines.String(), "\n\ngoroutine ") {
		if !strings.Contains(stack, "created by runtime.") {
			ours++
		}
	}
	// Main, which accepts, the teller, lonet, the HTTP server, and some for signals.
	if ours < 2 || ours > 10 || strings.Contains(p.lines.String(), "bridge.Join") {
		t.Errorf("the proxy has %d goroutines", ours)
	}
}

// Strangers that say nothing keep nobody out.
func TestProxyStrangers(t *testing.T) {
	tempDir(t)
	serveWeb(t, newVirtualHost(t, "www"), "80", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, r.RemoteAddr)
	})
	const limit = 50
	p, addr := launchProxy(t, "--max", fmt.Sprint(limit))
	for range 2 * limit {
		dialTCP(t, addr)
	}
	for _, way := range proxyWays {
		exitsWith(t, curl(t, append(way.flags(addr), "http://www/")...), 0, "β:")
	}
	if _, others := descriptors(t, p.cmd.Process.Pid); others > limit+20 {
		t.Errorf("the proxy has %d descriptors", others)
	}
	p.stop()
}
