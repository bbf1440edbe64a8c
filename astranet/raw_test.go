package astranet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// rawHello is a hello with any fields.
func rawHello(lowest, highest byte, fields ...[]byte) []byte {
	all := bytes.Join(fields, nil)
	b := append([]byte(helloMagic), lowest, highest)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(all))), all...)
}

func rawField(kind uint16, value ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

func rawNumber(kind uint16, v uint64) []byte {
	return rawField(kind, binary.BigEndian.AppendUint64(nil, v)...)
}

func rawSelf() []byte { return slices.Concat(rawNumber(fieldID, 7), rawNumber(fieldLife, 8)) }

func TestReadHello(t *testing.T) {
	long := bytes.Repeat([]byte("n"), 256)
	for _, x := range []struct {
		name string
		in   []byte
		want string // error
	}{
		{"least", rawHello(1, 1, rawSelf()), ""},
		{"three versions", rawHello(1, 3, rawSelf()), ""},
		{"one of later versions", rawHello(2, 2, rawSelf()), ""},
		{"unknown fields", rawHello(1, 1, rawField(999), rawSelf(), rawField(6, 1, 2, 3), rawField(0)), ""},
		{"unknown flags and features", rawHello(1, 1, rawSelf(), rawField(fieldFlags, 0xfe), rawNumber(fieldFeatures, 1<<64-1)), ""},
		{"most fields", rawHello(1, 1, rawSelf(), rawField(9, make([]byte, maxHello-28)...)), ""},
		{"too many fields", rawHello(1, 1, rawSelf(), rawField(9, make([]byte, maxHello-27)...)), "the other end's hello is malformed: 4097 bytes of fields, more than 4096"},
		{"nothing", nil, "the other end has closed the connection before it was a link: unexpected EOF"},
		{"cut off", rawHello(1, 1, rawSelf())[:20], "the other end has closed the connection before it was a link: unexpected EOF"},
		{"another protocol", []byte("GET / HTTP/1.1\r\n"), `the other end is no node: it begins with "GET / HT"`},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abc"), "the other end speaks TLS: it has Credentials, and this node has none"},
		{"attached", []byte("attached0123456789abcdef"), "the other end has attached the connection, and this one was dialled or taken"},
		{"no version", rawHello(0, 1, rawSelf()), "the other end's hello is malformed: versions 0 to 1"},
		{"versions the wrong way", rawHello(3, 2, rawSelf()), "the other end's hello is malformed: versions 3 to 2"},
		{"no id", rawHello(1, 1, rawNumber(fieldLife, 8)), "the other end's hello is malformed: it has no id, or no life"},
		{"id 0", rawHello(1, 1, rawNumber(fieldID, 0), rawNumber(fieldLife, 8)), "the other end's hello is malformed: it has no id, or no life"},
		{"no life", rawHello(1, 1, rawNumber(fieldID, 7)), "the other end's hello is malformed: it has no id, or no life"},
		{"short id", rawHello(1, 1, rawField(fieldID, 1, 2, 3)), "the other end's hello is malformed: field 1 has 3 bytes"},
		{"no flags", rawHello(1, 1, rawSelf(), rawField(fieldFlags)), "the other end's hello is malformed: field 4 has 0 bytes"},
		{"long name", rawHello(1, 1, rawSelf(), rawField(fieldName, long...)), "the other end's hello is malformed: field 5 has 256 bytes"},
		{"field cut off", rawHello(1, 1, rawSelf(), []byte{0, 9, 0}), "the other end's hello is malformed: a field is cut off"},
		{"value cut off", rawHello(1, 1, rawSelf(), []byte{0, 9, 0, 2, 1}), "the other end's hello is malformed: a field is cut off"},
	} {
		t.Run(x.name, func(t *testing.T) {
			h, err := readHello(bytes.NewReader(x.in))
			if got := errText(err); got != x.want {
				t.Errorf("got error\n\t%s, want\n\t%s", got, x.want)
			}
			if err == nil && (h.id != 7 || h.life != 8) {
				t.Errorf("got %+v, want id 7 and life 8", h)
			}
		})
	}
	h := hello{1, 2, 3, 4, 5, 6, "näme"}
	if got, err := readHello(bytes.NewReader(h.encode())); err != nil || got != h {
		t.Errorf("got %+v, %v, want %+v", got, err, h)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReadVerdict(t *testing.T) {
	for _, x := range []struct {
		name, in string
		want     verdict
		err      string
	}{
		{"admitted", "\x00\x00\x00", verdict{}, ""},
		{"with a reason", "\x07\x00\x02no", verdict{7, "no"}, ""},
		{"unknown code", "\xff\x00\x00", verdict{code: 255}, ""},
		{"no text", "\x01\x00\x02\xff\xfe", verdict{1, "?"}, ""},
		{"nothing", "", verdict{}, "the other end has closed the connection before it was a link: unexpected EOF"},
		{"cut off", "\x01\x00\x05abc", verdict{}, "the other end has closed the connection before it was a link: unexpected EOF"},
		{"too long", "\x01\x02\x01", verdict{}, "the other end's verdict has a reason of 513 bytes, more than 512"},
	} {
		got, err := readVerdict(strings.NewReader(x.in))
		if got != x.want || errText(err) != x.err {
			t.Errorf("%s: got %+v, %v, want %+v, %s", x.name, got, err, x.want, x.err)
		}
	}
	long := verdict{3, strings.Repeat("ä", 400)}
	if got, err := readVerdict(bytes.NewReader(long.encode())); err != nil || len(got.reason) != maxReason || got.code != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// raw is an end of a connection that says what it likes, and what the node at the other end makes of it.
type raw struct {
	*pipe.Conn
	node *node
	err  chan error
}

// meetRaw has a new node take a connection.
func meetRaw(c Config) *raw {
	n := c.New().(*node)
	n.start()
	near, far := pipe.New(pipe.DefaultSize)
	r := &raw{near, n, make(chan error, 1)}
	go func() {
		l, err := (&handshake{node: n, conn: far}).run(n.ctx)
		if err == nil {
			err = l.serve(nil)
		}
		r.err <- err
	}()
	return r
}

// A peer of another release, or one that is none: both ends get to know why there is no link.
func TestOtherPeers(t *testing.T) {
	for _, x := range []struct {
		name  string
		hello []byte
		ours  string // the node's error; "" is a link
		sent  verdict
	}{
		{"versions 1 to 3, and what is unknown", rawHello(1, 3, rawSelf(), rawField(999, 1), rawField(fieldFlags, 0x80), rawNumber(fieldFeatures, 1<<63)), "", verdict{}},
		{"only version 2", rawHello(2, 2, rawSelf()), "this node refuses the link: no version in common: one speaks 2 to 2, the other 1",
			verdict{linkVersions, "no version in common: one speaks 2 to 2, the other 1"}},
		{"malformed", rawHello(1, 1, rawField(fieldID, 1)), "the other end's hello is malformed: field 1 has 1 bytes",
			verdict{linkDenied, "the hello is malformed: field 1 has 1 bytes"}},
		{"another protocol", []byte("SSH-2.0-OpenSSH_9.9\r\n"), `the other end is no node: it begins with "SSH-2.0-"`, verdict{linkDenied, "what came is no hello"}},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00"), "the other end speaks TLS: it has Credentials, and this node has none",
			verdict{linkDenied, "it has no Credentials"}},
		{"the node's own id", rawHello(1, 1, rawNumber(fieldID, 5), rawNumber(fieldLife, 1)), "this node refuses the link: both nodes have the id AAAAAAAAAAU",
			verdict{linkIdentity, "both nodes have the id AAAAAAAAAAU"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := meetRaw(Config{ID: 5})
				defer r.node.Close()
				_, _ = r.Write(append(x.hello, verdict{}.encode()...))
				if h, err := readHello(r); err != nil || h.id != 5 || h.lowest != 1 || h.highest != 1 {
					t.Fatalf("got hello %+v, %v", h, err)
				}
				if v, err := readVerdict(r); err != nil || v != x.sent {
					t.Errorf("got verdict %+v, %v, want %+v", v, err, x.sent)
				}
				if x.ours == "" {
					m, err := mux.Server(r, nil)
					if err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if len(r.node.Routes()) != 1 {
						t.Error("there is no link")
					}
					unknownStreams(t, m)
					_ = m.CloseWithError(200, "a reason of its own")
					x.ours = "the other node has ended the link: a reason of its own"
				}
				r.Close()
				if err := <-r.err; errText(err) != x.ours {
					t.Errorf("got error\n\t%v, want\n\t%s", err, x.ours)
				}
				if n := len(r.node.peers); n != 0 {
					t.Errorf("%d nodes are still known", n)
				}
			})
		})
	}
}

// unknownStreams opens streams of kinds that the node does not know, which resets them, and sends messages that it does not know,
// which it ignores. The node has the lower id.
func unknownStreams(t *testing.T, m *mux.Session) {
	t.Helper()
	st, err := m.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kind := make([]byte, 1)
	if _, err := io.ReadFull(st, kind); err != nil || kind[0] != streamControl {
		t.Fatalf("first stream is of kind %v, %v", kind, err)
	}
	_, _ = st.Write([]byte{250, 0, 0, 3, 'a', 'b', 'c', 99, 0, 0, 0})
	for _, kind := range []byte{0, streamControl, streamTunnel, 77} {
		st, err := m.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = st.Write([]byte{kind})
		_, err = st.Read(make([]byte, 1))
		if se, ok := errors.AsType[*mux.StreamError](err); !ok || !se.Remote {
			t.Errorf("stream of kind %d: %v, want a reset", kind, err)
		}
		_ = st.Close()
	}
	synctest.Wait()
	if err := m.Err(); err != nil {
		t.Errorf("the link has ended: %v", err)
	}
}

// A peer that stalls is given up after the time-out, and the error says in what.
func TestStalls(t *testing.T) {
	for _, x := range []struct {
		name string
		says []byte
		want string
	}{
		{"at once", nil, "the other end has not sent its hello within 5s: context deadline exceeded"},
		{"in hello", rawHello(1, 1, rawSelf())[:15], "the other end has not sent its hello within 5s: context deadline exceeded"},
		{"in verdict", append(rawHello(1, 1, rawSelf()), 0, 0), "the other end has not sent its verdict within 5s: context deadline exceeded"},
		{"refused, in verdict", append(rawHello(2, 2, rawSelf()), 0, 0), "the other end has not sent its verdict within 5s: context deadline exceeded"},
	} {
		for _, what := range []string{"stalls", "closes"} {
			t.Run(x.name+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := meetRaw(Config{})
					defer r.node.Close()
					_, _ = r.Write(x.says)
					begin, want, after := time.Now(), x.want, 5*time.Second
					if what == "closes" {
						_ = r.CloseWrite()
						want, after = "the other end has closed the connection before it was a link: unexpected EOF", 0
						if strings.HasPrefix(x.name, "refused") {
							want = "this node refuses the link: no version in common: one speaks 2 to 2, the other 1"
						}
					}
					if err := <-r.err; errText(err) != want {
						t.Errorf("got error\n\t%v, want\n\t%s", err, want)
					}
					if d := time.Since(begin); d != after {
						t.Errorf("after %v, want %v", d, after)
					}
				})
			})
		}
	}
}

// A crowd of strangers does not fill the log.
func TestLogLimit(t *testing.T) {
	var l logLimit
	now := time.Now()
	for range mostRefusals {
		if ok, unsaid := l.next(now); !ok || unsaid != 0 {
			t.Fatalf("got %v, %d", ok, unsaid)
		}
	}
	for range 5 {
		if ok, _ := l.next(now.Add(time.Second - 1)); ok {
			t.Error("one too many")
		}
	}
	if ok, unsaid := l.next(now.Add(time.Second)); !ok || unsaid != 5 {
		t.Errorf("a second later: %v, %d, want 5 that were not logged", ok, unsaid)
	}
}

func FuzzReadHello(f *testing.F) {
	f.Add(hello{1, 2, 3, 4, 5, 6, "name"}.encode())
	f.Add(rawHello(1, 1, rawSelf(), rawField(999, 1, 2)))
	f.Add([]byte("attached0123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := readHello(r)
		if err != nil {
			return
		}
		if h.id == 0 || h.life == 0 || h.lowest == 0 || h.highest < h.lowest || len(b)-r.Len() > helloFixed+maxHello {
			t.Errorf("accepted %+v", h)
		}
		again, err := readHello(bytes.NewReader(h.encode()))
		if err != nil || len(h.name) <= 255 && again != h {
			t.Errorf("%+v has become %+v, %v", h, again, err)
		}
	})
}

func FuzzReadVerdict(f *testing.F) {
	f.Add(verdict{3, "why"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := readVerdict(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again, err := readVerdict(bytes.NewReader(v.encode())); err != nil || again.code != v.code {
			t.Errorf("%+v has become %+v, %v", v, again, err)
		}
		_ = (&verdictError{verdict: v}).Error()
	})
}

// FuzzHandshake has a node take a connection on which anything comes, and then nothing: no panic, no goroutine left, nothing kept.
func FuzzHandshake(f *testing.F) {
	ok := append(rawHello(1, 1, rawSelf()), verdict{}.encode()...)
	f.Add(ok, true)
	f.Add(append(ok, "garbage"...), false)
	f.Add(append(ok, "\x01\x00\x00\x00virtmux\x01"...), false)
	f.Add(append(ok, "\x01\x00\x00\x10virtmux\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"...), true)
	f.Fuzz(func(t *testing.T, b []byte, closes bool) {
		synctest.Test(t, func(t *testing.T) {
			r := meetRaw(Config{ID: 5})
			go func() { _, _ = io.Copy(io.Discard, r) }()
			_, _ = r.Write(b)
			if closes {
				_ = r.CloseWrite()
			}
			var err error
			select {
			case err = <-r.err:
			case <-time.After(time.Minute):
				t.Fatal("neither refused nor ended")
			}
			if err == nil || err.Error() == "" {
				t.Errorf("no error")
			}
			if n := len(r.node.peers); n != 0 {
				t.Errorf("%d nodes are still known", n)
			}
			r.node.Close()
			r.Close()
		})
	})
}
