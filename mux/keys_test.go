package mux_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/mux"
)

// Kinds and codes of resumption, by docs/mux.md.
const (
	key       = 13
	ack       = 14
	resuming  = 15
	challenge = 16
	proof     = 17

	helloResume = 4
)

// A scribe is a connection that counts what is read.
type scribe struct {
	net.Conn
	n uint64
}

func (s *scribe) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.n += uint64(n)
	return n, err
}

// master makes a session's name and key as section 7.3 says.
func master(t *testing.T, private *ecdh.PrivateKey, clientKey, serverKey []byte, exported []byte) (id, master []byte) {
	public, err := ecdh.X25519().NewPublicKey(serverKey[12 : 12+32])
	if err != nil {
		t.Fatal(err)
	}
	secret, err := private.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("virtmux resume session" + string(clientKey) + string(serverKey)))
	master, err = hkdf.Key(sha256.New, append(secret, exported...), hash[:], "virtmux resume master", 32)
	if err != nil {
		t.Fatal(err)
	}
	return hash[:16], master
}

// handshakeMAC is a MAC as section 7.6 has it.
func handshakeMAC(master []byte, parts ...string) string {
	m := hmac.New(sha256.New, master)
	io.WriteString(m, strings.Join(parts, ""))
	return string(m.Sum(nil))
}

// TestKeys plays a client by the page: it begins a session on one carrier, TLS or not, and resumes it on another.
func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		name     string
		pair     func() (a, b net.Conn)
		says     uint64 // id of the key frame
		server   uint64 // that of the server's
		exporter bool
	}{
		{"plain", bufferedPipe, 0, 0, false},
		{"tls", func() (a, b net.Conn) { return tlsPair(t) }, 1, 1, true},
		{"tls at the server's end", func() (a, b net.Conn) { return tlsPair(t) }, 0, 1, false},
		{"tls at the client's end", tcpPairs(t), 1, 0, false},
		{"bits of a later version", func() (a, b net.Conn) { return tlsPair(t) }, 1<<63 | 7, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			acceptor := mux.NewAcceptor(resumeConfig())
			defer acceptor.Close()
			served, wrong := make(chan *mux.Session, 2), false // wrong is whether Serve should fail
			serve := func(conn net.Conn) {
				go func() {
					s, _, err := acceptor.Serve(context.Background(), conn)
					if (err != nil) != wrong {
						t.Errorf("serve: %v", err)
					}
					served <- s
				}()
			}
			conn, b := tt.pair()
			serve(b)
			a := &scribe{Conn: conn}
			private, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			nonce := rand.Text()[:16] + rand.Text()[:16]
			own := frame{key, tt.says, string(private.PublicKey().Bytes()) + nonce + uint64s([]uint64{1 << 20})}
			first := encode(fHello(helloCredit, 1<<20, helloLimit, 1<<20, helloStreams, 16, helloResume, 1), own)
			a.Write(first)
			f, err := readFrame(a)
			if err != nil || f.kind != hello {
				t.Fatalf("got %v, %v, want hello", f, err)
			}
			other, err := readFrame(a)
			if err != nil || other.kind != key || other.id != tt.server || len(other.payload) != 72 {
				t.Fatalf("got %v, %v, want key", other, err)
			}
			var exported []byte
			if tt.exporter {
				state := conn.(*tls.Conn).ConnectionState()
				if exported, err = state.ExportKeyingMaterial("EXPORTER-virtmux-resume", nil, 32); err != nil {
					t.Fatal(err)
				}
			}
			id, secret := master(t, private, encode(own), encode(other), exported)
			// Until the server has what was sent, it may know nothing of the session.
			for has := uint64(0); has < uint64(len(first)); {
				f, err := readFrame(a)
				if err != nil {
					t.Fatal(err)
				}
				if f.kind == ack {
					has = f.id
				}
			}
			has := a.n

			// move resumes the session on a new carrier, with the numbers that a client would tell, for those of the server.
			move := func(epoch uint64, numbers func(offS uint64) (offC, from uint64), behind func(offS uint64) []byte) net.Conn {
				c, d := bufferedPipe()
				t.Cleanup(func() { c.Close() })
				serve(d)
				said := string(id) + uint64s([]uint64{epoch}) + nonce
				c.Write(encode(frame{resuming, fHello().id, said}))
				f, err := readFrame(c)
				if err != nil || f.kind != challenge || f.id != 0 || len(f.payload) != 72 {
					t.Fatalf("got %v, %v, want a challenge", f, err)
				}
				offS := binary.BigEndian.Uint64([]byte(f.payload[32:40]))
				said += f.payload[:32]
				if mac := handshakeMAC(secret, "virtmux resume server", said, uint64s([]uint64{offS})); mac != f.payload[40:] {
					t.Fatal("the server's MAC is another")
				}
				offC, from := numbers(offS)
				told := uint64s([]uint64{offS, offC, from})
				p := frame{proof, 0, told[8:] + handshakeMAC(secret, "virtmux resume client", said, told)}
				c.Write(append(encode(p), behind(offS)...))
				return c
			}
			// From the middle of the key frame on, which the server has; from its own last byte but ten.
			c := move(1, func(offS uint64) (offC, from uint64) {
				if offS != uint64(len(first)) {
					t.Errorf("the server says it has %d bytes, of %d", offS, len(first))
				}
				return has - 10, offS - 50
			}, func(offS uint64) []byte {
				return append(bytes.Clone(first[offS-50:]), encode(fPing(77))...)
			})
			again := make([]byte, 10)
			if _, err := io.ReadFull(c, again); err != nil {
				t.Fatal(err)
			}
			for f.kind != pong {
				if f, err = readFrame(c); err != nil {
					t.Fatal(err)
				}
			}
			if f.id != 77 {
				t.Errorf("got %v, want pong 77", f)
			}
			s := <-served
			if s != <-served {
				t.Error("the resume has led to another session")
			}
			if s.Stats().Resumed != 1 {
				t.Errorf("the session was resumed %d times", s.Stats().Resumed)
			}

			// Numbers that can't be, of who has the key, end the session.
			wrong = true
			c = move(2, func(offS uint64) (offC, from uint64) {
				if tt.exporter {
					return has, offS + 1
				}
				return has + 1<<20, offS
			}, func(uint64) []byte { return nil })
			<-s.Done()
			if e := s.Err().(*mux.SessionError); e.Code != codeState || e.Remote {
				t.Errorf("after a resume with wrong numbers the session's error is %v", e)
			}
			if n, err := c.Read(again); err == nil {
				t.Errorf("%d bytes come on a carrier that was given up", n)
			}
			<-served
			s.Close()
			conn.Close()
		})
	}
}

// terminated returns the ends of a connection on whose way TLS is terminated, and begins anew or not.
func terminated(t testing.TB, anew bool) (a, b net.Conn) {
	a, in := tlsPair(t)
	out, b := tcpPair(t)
	if anew {
		out, b = tlsPair(t)
	}
	forward := func(dst, src net.Conn) {
		io.Copy(dst, src)
		dst.Close()
		src.Close()
	}
	go forward(in, out)
	go forward(out, in)
	return a, b
}

// TestTerminatedTLS has something between the ends terminate TLS. If it speaks TLS on, the session works and is not resumed.
func TestTerminatedTLS(t *testing.T) {
	for _, anew := range []bool{true, false} {
		r := newRig(t, func() (a, b net.Conn) { return terminated(t, anew) }, false, nil)
		c, _ := r.dial(context.Background())
		err := r.client.Resume(context.Background(), c)
		if anew && (err == nil || !strings.Contains(err.Error(), "has not the session's keys")) || !anew && err != nil {
			t.Errorf("TLS begins anew: %v; resume: %v", anew, err)
		}
		r.speaks("after the resume")
		r.client.Close()
	}
}
