package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// ask sends a request as it is, and returns the answer with its body.
func (w *world) ask(request string) (*http.Response, string) {
	w.t.Helper()
	c := w.connect()
	if _, err := io.WriteString(c, request); err != nil {
		w.t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("%.80q: %v", request, err)
	}
	defer res.Body.Close()
	if method == http.MethodConnect {
		res.Body = io.NopCloser(io.LimitReader(res.Body, res.ContentLength))
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%.80q: %v", request, err)
	}
	return res, string(body)
}

func TestWebRefuses(t *testing.T) {
	w := newWorld(t, Config{})
	told := 0
	for _, test := range []struct {
		line   string
		status int
		body   string
		quiet  bool // nothing is told: package net/http has answered
	}{
		{line: "GET http://α:81/ HTTP/1.1", status: 502, body: "virtnet: dial lonettea β:1->α:81: connection refused"},
		{line: "GET http://xn--mxa:81/ HTTP/1.1", status: 502, body: "virtnet: dial lonettea β:1->α:81: connection refused"},
		{line: "GET http://xn--oxa/ HTTP/1.1", status: 502, body: "virtnet: dial lonettea β:1->γ:80: "},
		{line: "GET http://none/ HTTP/1.0", status: 502, body: "no such host"},
		{line: "GET http://127.0.0.1/ HTTP/1.1", status: 502, body: "leave it to the proxy to look up names"},
		{line: "GET http://[::1]/ HTTP/1.1", status: 502, body: "leave it to the proxy to look up names"},
		{line: "CONNECT α:81 HTTP/1.1", status: 502, body: "virtnet: dial lonettea β:1->α:81: connection refused"},
		{line: "CONNECT none:81 HTTP/1.0", status: 502, body: "no such host"},
		{line: "CONNECT [::1]:81 HTTP/1.0", status: 502, body: "leave it to the proxy to look up names"},

		{line: "GET / HTTP/1.1", status: 400, body: "virtnet: this is a proxy, and has no pages of its own: use it as in curl --proxy http://x http://HOST/\n"},
		{line: "OPTIONS * HTTP/1.1", status: 400, body: "virtnet: this is a proxy"},
		{line: "GET https://α/ HTTP/1.1", status: 400, body: "virtnet: the proxy speaks plain HTTP and not \"https\": have it CONNECT instead\n"},
		{line: "GET ftp://α/ HTTP/1.1", status: 400, body: "virtnet: the proxy speaks plain HTTP and not \"ftp\""},
		{line: "GET http:/// HTTP/1.1", status: 400, body: "virtnet: address \"\": want HOST:PORT\n"},
		{line: "GET http://:80/ HTTP/1.1", status: 400, body: "virtnet: address \":80\": want HOST:PORT\n"},
		{line: "GET http://α:0/ HTTP/1.1", status: 400, body: "virtnet: address \"α:0\": want a port from 1 to 65535\n"},
		{line: "GET http://α:65536/ HTTP/1.1", status: 400, body: "virtnet: address \"α:65536\": want a port from 1 to 65535\n"},
		{line: "CONNECT α HTTP/1.1", status: 400, body: "virtnet: address \"α\": want HOST:PORT\n"},
		{line: "CONNECT α:2147483647 HTTP/1.1", status: 400, body: "virtnet: address \"α:2147483647\": want a port from 1 to 65535\n"},

		{line: "GET http://a b/ HTTP/1.1", status: 400, quiet: true},
		{line: "GET http://a/ HTTP/1.1\r\nX: " + strings.Repeat("x", 70<<10), status: 431, quiet: true},
		{line: "HELLO", status: 400, quiet: true},
	} {
		res, body := w.ask(test.line + "\r\nHost: x\r\nConnection: close\r\n\r\n")
		if res.StatusCode != test.status || !strings.Contains(body, test.body) {
			t.Errorf("%.80s: status %d, body %q, want %d %q", test.line, res.StatusCode, body, test.status, test.body)
		}
		if !test.quiet {
			told++
			if e := w.wait(Refused, told); !strings.Contains(body, e.Err.Error()) {
				t.Errorf("%.80s: told %q", test.line, e.Err)
			}
		}
		if got := len(w.told(Refused)); got != told {
			t.Fatalf("%.80s: told %d times, want %d", test.line, got, told)
		}
	}
}

func TestTarget(t *testing.T) {
	for _, test := range []struct{ host, port, want, err string }{
		{"α", "80", "α:80", ""},
		{"α:", "80", "α:80", ""},
		{"α:81", "80", "α:81", ""},
		{"[::1]", "80", "[::1]:80", ""},
		{"[::1]:81", "", "[::1]:81", ""},
		{"α:65535", "", "α:65535", ""},
		{"α", "", "", "address \"α\": want HOST:PORT"},
		{"α:", "", "", "address \"α:\": want HOST:PORT"},
		{"", "80", "", "address \"\": want HOST:PORT"},
		{"α:65536", "80", "", "address \"α:65536\": want a port from 1 to 65535"},
		{"α:99999999999999999999", "80", "", "address \"α:99999999999999999999\": want a port from 1 to 65535"},
	} {
		got, err := target(&url.URL{Host: test.host}, test.port)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != test.want || text != test.err {
			t.Errorf("target(%q, %q) = %q, %q, want %q, %q", test.host, test.port, got, text, test.want, test.err)
		}
	}
}

// A client may go on after a CONNECT that was refused.
func TestConnectAgain(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen("80", echo)
	c := w.connect()
	io.WriteString(c, connectTo("α", 81))
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, 1<<10)), &http.Request{Method: http.MethodGet}) // for its body
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	say(t, c, connectTo("α", 80)+"hello", "HTTP/1.1 200 Connection established\r\n\r\nhello")
}

// A bug of ours is told of, and does not look like an answer.
func TestWebBug(t *testing.T) {
	w := newWorld(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { panic("oops") }})
	c := w.connect()
	io.WriteString(c, "GET http://α/ HTTP/1.1\r\nHost: x\r\n\r\n")
	wantReset(t, c)
	if e := w.wait(Trouble, 1); !strings.HasPrefix(e.Err.Error(), "BUG: oops, at goroutine ") {
		t.Errorf("told %v", e.Err)
	}
}
