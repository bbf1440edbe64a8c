package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// client returns an HTTP client that uses the proxy.
func (w *world) client() *http.Client {
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr}), DisableCompression: true}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// What a server gets is what the client has sent, but for what is about the connection to the proxy.
func TestForwardRequest(t *testing.T) {
	w := newWorld(t, Config{})
	got := make(chan string, 1)
	w.listen("80", func(c net.Conn) {
		br := bufio.NewReader(c)
		var head strings.Builder
		for {
			line, err := br.ReadString('\n')
			head.WriteString(line)
			if err != nil || line == "\r\n" {
				break
			}
		}
		got <- head.String()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Answer: 1\r\nConnection: X-Drop\r\nX-Drop: 1\r\n\r\nok")
	})
	for _, test := range []struct{ name, request, want string }{
		{
			"plain",
			"GET http://α/a%2Fb?c;d&e=%zz HTTP/1.1\r\nHost: xn--mxa\r\n",
			"GET /a%2Fb?c;d&e=%zz HTTP/1.1\r\nHost: xn--mxa\r\nVia: 1.1 virtnet\r\nConnection: close\r\n\r\n",
		}, {
			"of the proxy's",
			"GET http://α HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nConnection: X-Drop\r\nX-Drop: 1\r\n",
			"GET / HTTP/1.1\r\nHost: xn--mxa\r\nVia: 1.1 virtnet\r\nConnection: close\r\n\r\n",
		}, {
			"of others",
			"GET http://α/ HTTP/1.0\r\nHost: x\r\nVia: 1.0 other\r\nX-Forwarded-For: a\r\nForwarded: for=b\r\nUser-Agent: c\r\nAccept-Encoding: gzip\r\n",
			"GET / HTTP/1.1\r\nHost: xn--mxa\r\nUser-Agent: c\r\nAccept-Encoding: gzip\r\nForwarded: for=b\r\nVia: 1.0 other\r\nVia: 1.0 virtnet\r\nX-Forwarded-For: a\r\nConnection: close\r\n\r\n",
		},
	} {
		res, body := w.ask(test.request + "\r\n")
		if got := <-got; got != test.want {
			t.Errorf("%s: got  %q\nwant %q", test.name, got, test.want)
		}
		if res.StatusCode != 200 || body != "ok" || res.Header.Get("X-Answer") != "1" || res.Header.Get("X-Drop") != "" || res.Header.Get("Via") != "1.1 virtnet" {
			t.Errorf("%s: answer %d %q, %v", test.name, res.StatusCode, body, res.Header)
		}
	}
}

func TestForward(t *testing.T) {
	w := newWorld(t, Config{})
	w.listenHTTP("8080", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			http.NotFound(rw, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		rw.Header().Set("Trailer", "X-Trailer")
		fmt.Fprintf(rw, "%s %s, %d bytes", r.Method, r.URL, len(body))
		rw.Header().Set("X-Trailer", "behind")
	})
	client := w.client()
	big := strings.Repeat("x", 1<<20)
	for i, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/a?b=c", "", 200, "GET /a?b=c, 0 bytes"},
		{"POST", "/", big, 200, "POST /, 1048576 bytes"},
		{"HEAD", "/", "", 200, ""},
		{"DELETE", "/x", "", 200, "DELETE /x, 0 bytes"},
		{"GET", "/none", "", 404, "404 page not found\n"},
	} {
		var body io.Reader = strings.NewReader(test.body)
		if i%2 == 1 {
			body = struct{ io.Reader }{body} // in chunks, for its length is not known
		}
		req, err := http.NewRequest(test.method, "http://α:8080"+test.path, body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(got) != test.want || res.StatusCode != test.status {
			t.Errorf("%s %s: %d %q (%v), want %d %q", test.method, test.path, res.StatusCode, got, err, test.status, test.want)
		}
		if trailer := res.Trailer.Get("X-Trailer"); test.status == 200 && test.method != "HEAD" && trailer != "behind" {
			t.Errorf("%s %s: trailer %q", test.method, test.path, trailer)
		}
		e := w.wait(Ended, i+1) // each has a connection of its own
		if e.Err != nil || e.Protocol != HTTP || e.Sent < int64(len(test.body)) || e.Received < int64(len(test.want)) {
			t.Errorf("%s %s: told %+v", test.method, test.path, e)
		}
	}
}

// What a server sends bit by bit comes bit by bit, and likewise what it is sent.
func TestForwardStreams(t *testing.T) {
	w := newWorld(t, Config{})
	w.listenHTTP("80", func(rw http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(rw)
		rc.EnableFullDuplex()
		rc.Flush()
		for b := make([]byte, 1); ; {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			rw.Write(b)
			rc.Flush()
		}
	})
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", "http://α/", pr)
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b := make([]byte, 1)
	for _, c := range []byte("hello") {
		if _, err := pw.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, b); err != nil || b[0] != c {
			t.Fatalf("read %q (%v), want %q", b, err, c)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v", rest, err)
	}
}

// An answer that ends too early does not look whole, also where its length is not said.
func TestForwardCut(t *testing.T) {
	reset := func(c net.Conn) { c.(*virtnet.Conn).NetConn().(*net.TCPConn).SetLinger(0) }
	for _, test := range []struct {
		name   string
		answer string
		end    func(net.Conn)
		http   string // version the client speaks
	}{
		{"by the end", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome", func(net.Conn) {}, "1.1"},
		{"by a reset", "HTTP/1.1 200 OK\r\n\r\nsome", reset, "1.1"},
		{"by a reset, to an old client", "HTTP/1.0 200 OK\r\n\r\nsome", reset, "1.0"},
		{"between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n", func(net.Conn) {}, "1.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, Config{})
			seen := make(chan struct{})
			w.listen("80", func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, test.answer)
				<-seen
				test.end(c)
			})
			c := w.connect()
			io.WriteString(c, "GET http://α/ HTTP/"+test.http+"\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4)
			if _, err := io.ReadFull(res.Body, b); err != nil {
				t.Error(err)
			}
			close(seen)
			if rest, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("read %q, and the end", rest)
			}
			if e := w.wait(Ended, 1); !errors.Is(e.Err, errCut) {
				t.Errorf("told %v", e.Err)
			}
		})
	}
}

// A server that accepts and does not answer properly.
func TestForwardNoAnswer(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"nothing":  {"", "virtnet: no answer from α:80: EOF\n"},
		"no HTTP":  {"SSH-2.0-x\r\n", "virtnet: no answer from α:80: net/http: HTTP/1.x transport connection broken: malformed HTTP response \"SSH-2.0-x\"\n"},
		"too much": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader), "virtnet: no answer from α:80: net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 65536 bytes; aborted\n"},
		"another protocol": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
			"virtnet: no answer from α:80: it has switched to protocol \"x\", where \"\" was asked for\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.listen("80", func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, test.answer)
				c.(*virtnet.Conn).CloseWrite()
				io.Copy(io.Discard, c)
			})
			res, body := w.ask("GET http://α/ HTTP/1.1\r\nHost: x\r\n\r\n")
			if res.StatusCode != 502 || body != test.want {
				t.Errorf("answer %d %q, want %q", res.StatusCode, body, test.want)
			}
			if e := w.wait(Ended, 1); "virtnet: "+e.Err.Error()+"\n" != test.want {
				t.Errorf("told %v", e.Err)
			}
		})
	}
}

// A client that goes away takes its request with it.
func TestForwardGone(t *testing.T) {
	for name, request := range map[string]string{
		"while it waits":  "GET http://α/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"while it speaks": "POST http://α/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			begun, ended := make(chan struct{}), make(chan struct{})
			w.listen("80", func(c net.Conn) {
				br := bufio.NewReader(c)
				http.ReadRequest(br)
				close(begun)
				io.Copy(io.Discard, br)
				close(ended)
			})
			c := w.connect()
			io.WriteString(c, request)
			<-begun
			c.Close()
			<-ended
			if e := w.wait(Ended, 1); e.Err == nil {
				t.Errorf("told %+v", e)
			}
		})
	}
}

// A proxy behind a proxy gets what is for a server, and refuses it: requests do not go in circles.
func TestForwardLoop(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen("80", func(c net.Conn) {
		to, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		go io.Copy(to, c)
		io.Copy(c, to)
	})
	res, body := w.ask("GET http://α/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if res.StatusCode != 400 || !strings.Contains(body, "this is a proxy") {
		t.Errorf("answer %d %q", res.StatusCode, body)
	}
}

// upgrade serves a protocol that it switches to if it is asked for it, and says hello on.
func upgrade(serve func(c net.Conn, br *bufio.Reader)) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReader(c)
		if r, err := http.ReadRequest(br); err != nil || r.Header.Get("Upgrade") != "talk" || r.Header.Get("Connection") != "Upgrade" {
			fmt.Fprintf(c, "HTTP/1.1 500 No\r\n\r\n%v", err)
			return
		}
		// The first words come with the answer, and the last of those beyond what is read at once.
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\nhello")
		serve(c, br)
	}
}

const upgradeRequest = "GET http://α/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"

// talk asks for another protocol, and returns what is said on it.
func (w *world) talk(request string) (*net.TCPConn, *bufio.Reader) {
	w.t.Helper()
	c := w.connect()
	io.WriteString(c, request)
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != 101 || res.Header.Get("Upgrade") != "talk" || res.Header.Get("Connection") != "Upgrade" {
		w.t.Fatalf("answer %d, %v", res.StatusCode, res.Header)
	}
	hello := make([]byte, 5)
	if _, err := io.ReadFull(br, hello); err != nil || string(hello) != "hello" {
		w.t.Fatalf("read %q, %v", hello, err)
	}
	return c, br
}

func TestUpgrade(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen("80", upgrade(func(c net.Conn, br *bufio.Reader) {
		b, err := io.ReadAll(br) // until the client has ended what it sends
		fmt.Fprintf(c, "%s, %v", b, err)
	}))
	c, br := w.talk(upgradeRequest + "early")
	io.WriteString(c, " late")
	c.CloseWrite()
	if b, err := io.ReadAll(br); string(b) != "early late, <nil>" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if e := w.wait(Ended, 1); e.Sent != 10 || e.Err != nil || e.Protocol != HTTP {
		t.Errorf("told %+v", e)
	}
}

func TestUpgradeReset(t *testing.T) {
	t.Run("by the server", func(t *testing.T) {
		w := newWorld(t, Config{})
		seen := make(chan struct{})
		w.listen("80", upgrade(func(c net.Conn, _ *bufio.Reader) {
			<-seen
			c.(*virtnet.Conn).NetConn().(*net.TCPConn).SetLinger(0)
		}))
		_, br := w.talk(upgradeRequest)
		close(seen)
		if b, err := io.ReadAll(br); err == nil {
			t.Errorf("read %q, and the end", b)
		}
	})
	t.Run("by the client", func(t *testing.T) {
		w := newWorld(t, Config{})
		got := make(chan error, 1)
		w.listen("80", upgrade(func(c net.Conn, br *bufio.Reader) {
			_, err := io.Copy(io.Discard, br)
			got <- err
		}))
		c, _ := w.talk(upgradeRequest)
		c.SetLinger(0)
		c.Close()
		if err := <-got; err == nil {
			t.Error("the server has read the end of the file")
		}
	})
}

// Much that a server says at once with its answer.
func TestUpgradeBeyond(t *testing.T) {
	w := newWorld(t, Config{})
	words := bytes.Repeat([]byte("hello"), 10000)
	w.listen("80", upgrade(func(c net.Conn, br *bufio.Reader) {
		c.Write(words)
		c.(*virtnet.Conn).CloseWrite()
		io.Copy(io.Discard, br)
	}))
	c, br := w.talk(upgradeRequest)
	if b, err := io.ReadAll(br); err != nil || !bytes.Equal(b, words) {
		t.Errorf("read %d bytes (%v), want %d", len(b), err, len(words))
	}
	c.CloseWrite()
}
