package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/virtnettest"
)

// random returns n bytes that are the same for the same seed.
func random(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// All bytes arrive, in both directions at once, and half close by half close.
func TestJoin(t *testing.T) {
	virtnettest.NoLeaks(t)
	combinations(t, func(t *testing.T, a, b kind) {
		j := join(t, a, b)
		there, back := random(1, 3<<20+17), random(2, 1<<20+5)
		received := make(chan []byte)
		for _, dir := range []struct {
			from, to full
			data     []byte
		}{{j.a, j.b, there}, {j.b, j.a, back}} {
			go func() {
				dir.from.Write(dir.data)
				dir.from.CloseWrite()
			}()
			go func() {
				got, err := io.ReadAll(dir.to)
				if err != nil || !bytes.Equal(got, dir.data) {
					t.Errorf("%d bytes arrived, %v; want %d", len(got), err, len(dir.data))
				}
				received <- got
			}()
		}
		<-received
		<-received
		if r := j.ends(); r.Err != nil || r.AtoB != int64(len(there)) || r.BtoA != int64(len(back)) {
			t.Errorf("result %+v, want %d bytes to b and %d to a", r, len(there), len(back))
		}
	})
}

// A side that has ended what it sends goes on receiving.
func TestJoinHalfClose(t *testing.T) {
	combinations(t, func(t *testing.T, a, b kind) {
		j := join(t, a, b)
		io.WriteString(j.a, "question")
		j.a.CloseWrite()
		if got, err := io.ReadAll(j.b); string(got) != "question" || err != nil {
			t.Fatalf("b got %q, %v", got, err)
		}
		select {
		case r := <-j.result:
			t.Fatalf("it is over: %+v", r)
		default:
		}
		answer := random(3, 1<<20)
		go func() {
			j.b.Write(answer)
			j.b.Close()
		}()
		if got, err := io.ReadAll(j.a); !bytes.Equal(got, answer) || err != nil {
			t.Errorf("a got %d bytes, %v; want %d", len(got), err, len(answer))
		}
		if r := j.ends(); r != (Result{AtoB: 8, BtoA: 1 << 20}) {
			t.Errorf("result %+v", r)
		}
	})
}

// broken checks that the connection of a far end ends with an error, if its kind has a reset, and returns what it got
// before that.
func broken(t *testing.T, c net.Conn, k kind) []byte {
	t.Helper()
	got, err := io.ReadAll(c)
	isBroken(t, k, err)
	return got
}

// isBroken checks that one of these errors, of the last operations on a connection, is that of a reset. The kernel tells
// of it once. A reset after an end of file would be a broken pipe.
func isBroken(t *testing.T, k kind, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); k.resets && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: the other far end got %q, want a reset", k.name, errs)
	}
}

// send sends to c without end, and tells why it could not go on.
func send(c net.Conn) <-chan error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, endless{})
		sent <- err
	}()
	return sent
}

// A reset while nothing goes on is one on the other side.
func TestJoinReset(t *testing.T) {
	virtnettest.NoLeaks(t)
	combinations(t, func(t *testing.T, a, b kind) {
		if !a.resets {
			t.Skip("there is no reset")
		}
		j := join(t, a, b)
		io.WriteString(j.a, "hello")
		if _, err := io.ReadFull(j.b, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		Reset(j.a)
		broken(t, j.b, b)
		r := j.ends()
		if oe := (*net.OpError)(nil); !errors.As(r.Err, &oe) || oe.Op != "read" || oe.Err != syscall.ECONNRESET || r.AtoB != 5 {
			t.Errorf("result %+v, want a read that was reset", r)
		}
	})
}

// One that is reset while both sides send never looks like an end of file to the other: not even if the write to it
// learns of the reset before the read from it does.
func TestJoinResetBusy(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	combinations(t, func(t *testing.T, a, b kind) {
		if !a.resets || !b.resets {
			t.Skip("there is no reset")
		}
		for range rounds {
			j := join(t, a, b)
			sent := send(j.b)
			io.CopyN(io.Discard, j.a, 300<<10)
			Reset(j.a)
			_, err := io.Copy(io.Discard, j.b)
			isBroken(t, b, err, <-sent)
			if r := j.ends(); r.Err == nil {
				t.Errorf("result %+v", r)
			}
		}
	})
}

// endless is a source of zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// What a side says before it breaks off, as a server does that does not want to read all of a request, gets through.
func TestJoinLastWords(t *testing.T) {
	for _, a := range carriers {
		for _, b := range carriers {
			t.Run(a.name+" and "+b.name, func(t *testing.T) {
				words := random(4, 20<<10)
				for range 20 {
					j := join(t, a, b)
					sent := send(j.a)
					if _, err := io.ReadFull(j.b, make([]byte, 100<<10)); err != nil {
						t.Fatal(err)
					}
					j.b.Write(words)
					j.b.Close() // with bytes unread, which is a reset
					got, err := io.ReadAll(j.a)
					if !bytes.Equal(got, words) {
						t.Errorf("%d bytes got through, want %d", len(got), len(words))
					}
					isBroken(t, a, err, <-sent)
					if r := j.ends(); r.Err == nil {
						t.Errorf("result %+v", r)
					}
				}
			})
		}
	}
}

// likeDarwin is a Unix socket of a system that has it not connected any more when the other end has closed it.
type likeDarwin struct{ *net.UnixConn }

func (likeDarwin) CloseRead() error  { return syscall.ENOTCONN }
func (likeDarwin) CloseWrite() error { return syscall.ENOTCONN }

// One who sends all by a Unix socket, and closes it at once, has ended in good order.
func TestJoinUnixClosed(t *testing.T) {
	near, far := carriers[1].pair(t)
	near2, far2 := carriers[0].pair(t)
	result := make(chan Result, 1)
	go func() { result <- Join(t.Context(), likeDarwin{near.(*net.UnixConn)}, near2) }()
	io.WriteString(far, "hello")
	far.Close()
	if got, err := io.ReadAll(far2); string(got) != "hello" || err != nil {
		t.Errorf("the other side got %q, %v", got, err)
	}
	far2.Close()
	if r := <-result; r != (Result{AtoB: 5}) {
		t.Errorf("result %+v", r)
	}
}

// What is sent to one who has ended in good order, and gone, is lost, and nobody says that all was well.
func TestJoinSentToNobody(t *testing.T) {
	for _, a := range carriers {
		for _, b := range carriers {
			if !a.resets || !b.resets {
				continue
			}
			t.Run(a.name+" and "+b.name, func(t *testing.T) {
				var r Result
				for pause := time.Millisecond; r.Err == nil; pause *= 2 {
					if pause > patience {
						t.Fatalf("result %+v", r)
					}
					j := join(t, a, b)
					j.b.Close()
					if _, err := io.ReadAll(j.a); err != nil {
						t.Fatal(err)
					}
					io.WriteString(j.a, "lost")
					time.Sleep(pause) // an end that is there before the reset does not learn of it: on TCP itself neither
					j.a.CloseWrite()
					r = j.ends()
				}
			})
		}
	}
}

// A context ends both, whatever goes on.
func TestJoinContext(t *testing.T) {
	virtnettest.NoLeaks(t)
	why := errors.New("that is why")
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("busy %v", busy), func(t *testing.T) {
			combinations(t, func(t *testing.T, a, b kind) {
				j := join(t, a, b)
				if busy { // until nothing more fits in anywhere
					j.a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
					io.Copy(j.a, endless{})
				}
				j.cancel(why)
				if r := j.ends(); r.Err != why {
					t.Errorf("result %+v, want %v", r, why)
				}
				broken(t, j.a, a)
				broken(t, j.b, b)
			})
		})
	}
}

// One under a context that has ended already.
func TestJoinContextDone(t *testing.T) {
	near, far := carriers[0].pair(t)
	near2, far2 := carriers[2].pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := Join(ctx, near, near2); r.Err != context.Canceled {
		t.Errorf("result %+v", r)
	}
	broken(t, far, carriers[0])
	broken(t, far2, carriers[2])
}

// A connection without half close cannot be told the end of the other's: both end, and not in good order.
func TestJoinNoHalfClose(t *testing.T) {
	virtnettest.NoLeaks(t)
	near, far := carriers[0].pair(t)
	pipe, farPipe := net.Pipe()
	result := make(chan Result, 1)
	go func() { result <- Join(t.Context(), near, pipe) }()
	go func() {
		io.WriteString(far, "hello")
		far.CloseWrite()
	}()
	if got, err := io.ReadAll(farPipe); string(got) != "hello" || err != nil {
		t.Errorf("the pipe got %q, %v", got, err)
	}
	broken(t, far, carriers[0])
	if r := <-result; !errors.Is(r.Err, errors.ErrUnsupported) || r.AtoB != 5 {
		t.Errorf("result %+v", r)
	}
}

// One far end that does not read holds up nothing but what is sent to it.
func TestJoinSlowReader(t *testing.T) {
	combinations(t, func(t *testing.T, a, b kind) {
		j := join(t, a, b)
		j.a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		io.Copy(j.a, endless{}) // b does not read it
		data := random(5, 1<<20)
		go j.b.Write(data)
		got := make([]byte, len(data))
		if _, err := io.ReadFull(j.a, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("what b sent arrived not, or wrong: %v", err)
		}
	})
}

// torn is a connection that has been reset, when a write comes to know it first, though the read was told.
type torn struct {
	net.Conn
	wrote chan struct{}
}

func (c *torn) Write([]byte) (int, error) {
	defer close(c.wrote)
	return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
}

func (c *torn) Read([]byte) (int, error) {
	<-c.wrote
	time.Sleep(time.Millisecond) // virtual: Join has heard of the write
	return 0, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
}

func TestJoinTorn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := net.Pipe()
		other, far := net.Pipe()
		go io.WriteString(far, "text")
		if r := Join(t.Context(), other, &torn{c, make(chan struct{})}); !errors.Is(r.Err, syscall.ECONNRESET) {
			t.Errorf("ended with %v, want a reset", r.Err)
		}
	})
}
