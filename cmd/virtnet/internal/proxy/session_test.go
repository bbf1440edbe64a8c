package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/virtnet/virtnet"
)

// socksIP is what a client says that has resolved a name.
func socksIP(ip string) string { return "\x05\x01\x00" + ip + "\x00\x50" }

func TestSocksReplies(t *testing.T) {
	w := newWorld(t, Config{})
	for i, test := range []struct {
		name    string
		request string
		code    replyCode
		err     string // of what is told
	}{
		{"refused", socksTo("α", 81), replyRefused, "dial lonettea β:1->α:81: connection refused"},
		{"port 0", socksTo("α", 0), replyRefused, "port 0 of α: nobody ever listens there"},
		{"no such host", socksTo("γ", 80), replyNoHost, "no such host"},
		{"no such punycode", socksTo("xn--oxa", 80), replyNoHost, "dial lonettea β:1->γ:80"},
		{"no name", socksTo("", 80), replyNoHost, "a SOCKS request without a host name"},
		{"no possible name", socksTo("a/b", 80), replyNoHost, ""},
		{"brackets", socksTo("[a]", 80), replyNoHost, ""},
		{"a name with a port", socksTo("α:81", 80), replyNoHost, ""},
		{"not UTF-8", socksTo("\xff", 80), replyNoHost, ""},
		{"control characters", socksTo("\x00\n", 80), replyNoHost, ""},
		{"IPv4", socksIP("\x05\x01\x00\x01\x7f\x00\x00\x01"), replyNoAddrType, "leave it to the proxy to look up names (socks5h, not socks5)"},
		{"IPv6", socksIP("\x05\x01\x00\x04" + strings.Repeat("\x00", 16)), replyNoAddrType, "leave it to the proxy to look up names (socks5h, not socks5)"},
		{"IPv4 as a name", socksTo("127.0.0.1", 80), replyNoHost, "leave it to the proxy to look up names (socks5h, not socks5)"},
		{"bind", socksIP("\x05\x02\x00\x03\x01a"), replyNoCommand, "SOCKS command 2 is not supported"},
		{"udp associate", socksIP("\x05\x03\x00\x03\x01a"), replyNoCommand, "SOCKS command 3 is not supported"},
		{"address type", "\x05\x01\x00\x05\x01\x00\x09", replyNoAddrType, "SOCKS address type 9"},
		{"version", "\x05\x01\x00\x06\x01\x00\x03", replyFailure, "a SOCKS request of version 6"},
	} {
		c := w.connect()
		say(t, c, test.request, "\x05\x00"+string(reply(test.code)))
		wantEnd(t, c)
		if got := w.wait(Refused, i+1); !strings.Contains(got.Err.Error(), test.err) || got.Protocol != SOCKS5 {
			t.Errorf("%s: told %v %q, want %q", test.name, got.Protocol, got.Err, test.err)
		}
	}
}

// Who dials does not wait for ever for somebody to accept.
func TestNobodyAccepts(t *testing.T) {
	w := newWorld(t, Config{DialTimeout: 50 * time.Millisecond})
	l, err := w.alpha.Listen(t.Context(), ":99")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const want = "nobody has accepted within 50ms"
	c := w.connect()
	say(t, c, socksTo("α", 99), "\x05\x00"+string(reply(replyTimeout)))
	wantEnd(t, c)
	for _, request := range []string{"POST http://α:99/ HTTP/1.1\r\nHost: x\r\n\r\n", connectTo("α", 99)} {
		if res, body := w.ask(request); res.StatusCode != http.StatusGatewayTimeout || !strings.Contains(body, want) {
			t.Errorf("%q: status %d, body %q, want %q", request, res.StatusCode, body, want)
		}
	}
	for i := range 3 {
		if e := w.wait(Refused, i+1); !strings.Contains(e.Err.Error(), want) {
			t.Errorf("told %v", e.Err)
		}
	}
}

func TestSocksPassword(t *testing.T) {
	w := newWorld(t, Config{})
	c := w.connect()
	say(t, c, "\x05\x01\x02", "\x05\xff")
	wantEnd(t, c)
	w.listen("80", echo)
	c = w.connect()
	say(t, c, "\x05\x03\x01\x02\x00", "\x05\x00") // one that would have none, too
	say(t, c, socksTo("α", 80)[3:]+"hello", string(reply(replyOK))+"hello")
}

// An IP address is a name like any other.
func TestSocksIPHost(t *testing.T) {
	w := newWorld(t, Config{})
	l, err := newHost(t, w.tmp, "127.0.0.1").Listen(t.Context(), ":80")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			echo(conn)
			conn.Close()
		}
	}()
	for _, request := range []string{socksIP("\x05\x01\x00\x01\x7f\x00\x00\x01"), socksTo("127.0.0.1", 80)} {
		c := w.connect()
		say(t, c, request+"hello", "\x05\x00"+string(reply(replyOK))+"hello")
		c.CloseWrite()
		wantEnd(t, c)
	}
	w.wait(Ended, 2)
}

// A client that is not ours, and kept well.
func TestSocksClient(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen("80", echo)
	d, err := proxy.SOCKS5("tcp", w.addr, nil, proxy.Direct)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"α", "xn--mxa"} {
		c, err := d.Dial("tcp", host+":80")
		if err != nil {
			t.Fatal(err)
		}
		say(t, c, "hello", "hello")
		c.Close()
	}
	for addr, want := range map[string]string{
		"α:81":         "connection refused",
		"γ:80":         "host unreachable",
		"127.0.0.1:80": "address type not supported",
	} {
		if _, err := d.Dial("tcp", addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("dial %s: %v, want %q", addr, err, want)
		}
	}
}

func TestTunnelNames(t *testing.T) {
	for _, tunnel := range tunnels {
		t.Run(tunnel.name, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.listen("80", echo)
			w.listen("65535", echo)
			var e Event
			for i, to := range []struct {
				host string
				port int
			}{{"α", 80}, {"xn--mxa", 80}, {"α", 65535}} {
				c := w.connect()
				say(t, c, tunnel.to(to.host, to.port), tunnel.heard)
				say(t, c, "hello", "hello")
				c.CloseWrite()
				wantEnd(t, c)
				e = w.wait(Ended, i+1)
			}
			if e.To != "α:65535" || e.From == nil || !strings.HasPrefix(e.Via.String(), "β:") || !strings.HasPrefix(e.Peer.String(), "α:") || e.Sent != 5 || e.Received != 5 || e.Err != nil || e.Conn != 3 {
				t.Errorf("told %+v", e)
			}
		})
	}
}

// What a client sends before it has an answer is not lost.
func TestTunnelEarly(t *testing.T) {
	for _, tunnel := range tunnels {
		t.Run(tunnel.name, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.listen("80", echo)
			words := strings.Repeat("early ", 1000)
			c := w.connect()
			say(t, c, tunnel.to("α", 80)+words, tunnel.heard+words)
			c.CloseWrite()
			wantEnd(t, c)
			if e := w.wait(Ended, 1); e.Sent != int64(len(words)) || e.Received != int64(len(words)) {
				t.Errorf("told %+v", e)
			}
		})
	}
}

// Each side may end what it sends, and go on receiving.
func TestTunnelHalfClose(t *testing.T) {
	for _, tunnel := range tunnels {
		t.Run(tunnel.name+"/client first", func(t *testing.T) {
			w := newWorld(t, Config{})
			w.listen("80", func(c net.Conn) {
				b, err := io.ReadAll(c)
				fmt.Fprintf(c, "%s, %v", b, err)
			})
			c := w.connect()
			say(t, c, tunnel.to("α", 80), tunnel.heard)
			io.WriteString(c, "hello")
			c.CloseWrite()
			if b, err := io.ReadAll(c); string(b) != "hello, <nil>" || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
		})
		t.Run(tunnel.name+"/server first", func(t *testing.T) {
			w := newWorld(t, Config{})
			got := make(chan string, 1)
			w.listen("80", func(c net.Conn) {
				io.WriteString(c, "hello")
				c.(*virtnet.Conn).CloseWrite()
				b, err := io.ReadAll(c)
				got <- fmt.Sprintf("%s, %v", b, err)
			})
			c := w.connect()
			say(t, c, tunnel.to("α", 80), tunnel.heard+"hello")
			wantEnd(t, c)
			io.WriteString(c, "world")
			c.CloseWrite()
			if got := <-got; got != "world, <nil>" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// What breaks one side breaks the other: it never looks like an end of file.
func TestTunnelReset(t *testing.T) {
	for _, tunnel := range tunnels {
		t.Run(tunnel.name+"/by the client", func(t *testing.T) {
			w := newWorld(t, Config{})
			got := make(chan error, 1)
			w.listen("80", func(c net.Conn) {
				io.WriteString(c, "hello")
				_, err := io.ReadAll(c)
				got <- err
			})
			c := w.connect()
			say(t, c, tunnel.to("α", 80), tunnel.heard+"hello")
			c.SetLinger(0)
			c.Close()
			if err := <-got; err == nil {
				t.Error("the server has read the end of the file")
			}
			if e := w.wait(Ended, 1); e.Err == nil {
				t.Errorf("told %+v", e)
			}
		})
		t.Run(tunnel.name+"/by the server", func(t *testing.T) {
			w := newWorld(t, Config{})
			w.listen("80", func(c net.Conn) {
				c.(*virtnet.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			})
			c := w.connect()
			say(t, c, tunnel.to("α", 80), tunnel.heard)
			wantReset(t, c)
		})
		t.Run(tunnel.name+"/by the proxy", func(t *testing.T) {
			w := newWorld(t, Config{})
			got := make(chan error, 1)
			w.listen("80", func(c net.Conn) {
				io.WriteString(c, "hello")
				_, err := io.ReadAll(c)
				got <- err
			})
			c := w.connect()
			say(t, c, tunnel.to("α", 80), tunnel.heard+"hello")
			w.stop()
			wantReset(t, c)
			if err := <-got; err == nil {
				t.Error("the server has read the end of the file")
			}
		})
	}
}

// Nobody dials for a client that has gone.
func TestTunnelGone(t *testing.T) {
	for _, tunnel := range tunnels {
		for _, how := range []string{"closes", "resets"} {
			t.Run(tunnel.name+"/"+how, func(t *testing.T) {
				dialling := make(chan struct{})
				w := newWorld(t, Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					close(dialling)
					<-ctx.Done()
					return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
				}})
				c := w.connect()
				io.WriteString(c, tunnel.to("α", 80))
				<-dialling
				if how == "resets" {
					c.SetLinger(0)
				}
				c.Close()
				if e := w.wait(Refused, 1); !errors.Is(e.Err, errGone) {
					t.Errorf("told %v", e.Err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				w.proxy.Quiet(ctx)
				if ctx.Err() != nil {
					t.Error("the client is still there")
				}
			})
		}
	}
}

// The proxy ends while a dial waits.
func TestTunnelStop(t *testing.T) {
	for _, tunnel := range tunnels {
		t.Run(tunnel.name, func(t *testing.T) {
			dialling := make(chan struct{})
			w := newWorld(t, Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				close(dialling)
				<-ctx.Done()
				return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
			}})
			c := w.connect()
			io.WriteString(c, tunnel.to("α", 80))
			<-dialling
			w.stop()
			if b, err := io.ReadAll(c); err == nil || !strings.HasPrefix("\x05\x00", string(b)) { // which is before the dial
				t.Errorf("read %q (%v), want a reset", b, err)
			}
		})
	}
}

// A connection that takes nothing of what the client has said early holds nobody up at the end.
func TestTunnelEarlyStuck(t *testing.T) {
	for _, tunnel := range tunnels {
		t.Run(tunnel.name, func(t *testing.T) {
			near, far := net.Pipe() // on which a Write waits for a Read
			w := newWorld(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
			c := w.connect()
			say(t, c, tunnel.to("α", 80)+"early", tunnel.heard)
			b := make([]byte, 1)
			if _, err := far.Read(b); err != nil || b[0] != 'e' {
				t.Errorf("read %q, %v", b, err)
			}
			w.stop()
			wantReset(t, c)
			if e := w.wait(Ended, 1); e.Err == nil {
				t.Errorf("told %+v", e)
			}
		})
	}
}
