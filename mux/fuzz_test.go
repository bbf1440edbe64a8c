package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// Steps of a fuzzed session, by their first byte. Those of the peer send frames, those of the user call methods.
const (
	stepNextOpen = iota
	stepOpen
	stepData
	stepLast
	stepReset
	stepStop
	stepCredit
	stepLimit
	stepStreams
	stepPing
	stepPong
	stepGoAway
	stepRaw
	stepHeader
	stepBulk
	stepPart // of a frame, the rest of which comes with the next
	stepUserOpen
	stepUserAccept
	stepUserRead
	stepUserWrite
	stepUserCloseWrite
	stepUserCloseRead
	stepUserClose
	stepUserReset
	stepUserDeadline
	stepUserPing
	stepUserLimits
	stepUserShutdown
	stepWait
	stepHello
	stepClose
	steps
)

// fuzzed is a session that a fuzzer plays with, from both of its sides.
type fuzzed struct {
	*testing.T
	in      []byte // what is left of the fuzzer's input
	s       *mux.Session
	conn    *pipe.Conn
	watch   *watch
	end     int // the session's, for the watch
	opened  uint64
	part    []byte
	streams []*mux.Stream
	calls   sync.WaitGroup
	pending int
}

// byte takes a byte of the input, 0 at its end.
func (z *fuzzed) byte() byte {
	if len(z.in) == 0 {
		return 0
	}
	b := z.in[0]
	z.in = z.in[1:]
	return b
}

// id is mostly that of a stream that may be there.
func (z *fuzzed) id() uint64 {
	switch b := z.byte(); {
	case b < 0xF0:
		return uint64(b % 16)
	case b < 0xF8:
		return z.number()
	default:
		return ^uint64(b)
	}
}

// number is any, or one that means something.
func (z *fuzzed) number() uint64 {
	b := z.byte()
	if b < 0xF0 {
		return []uint64{0, 1, 2, 100, 64 << 10, 64<<10 + 1, 128 << 10, 1 << 20, 2 << 20, 1 << 32, 1 << 62, 1<<64 - 1}[b%12]
	}
	var n [8]byte
	for i := range n {
		n[i] = z.byte()
	}
	return binary.BigEndian.Uint64(n[:])
}

// send sends bytes of the peer.
func (z *fuzzed) send(b []byte) {
	b = append(z.part, b...)
	z.part = nil
	z.watch.wrote(1-z.end, b)
	z.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	z.conn.Write(b)
}

func (z *fuzzed) stream() *mux.Stream {
	if len(z.streams) == 0 {
		return nil
	}
	return z.streams[int(z.byte())%len(z.streams)]
}

// begin begins a call that may wait.
func (z *fuzzed) begin(f func()) {
	if z.pending++; z.pending < 100 {
		z.calls.Go(f)
	}
}

func (z *fuzzed) step() {
	k := z.byte() % steps
	switch k {
	case stepNextOpen:
		z.opened++
		z.send(encode(fOpen(2*z.opened - uint64(z.end))))
	case stepOpen:
		z.send(encode(fOpen(z.id())))
	case stepData:
		z.send(encode(fData(z.id(), text(int(z.byte())*int(z.byte()%8)))))
	case stepLast:
		z.send(encode(fLast(z.id(), text(int(z.byte())))))
	case stepReset:
		z.send(encode(fReset(z.id(), z.number())))
	case stepStop:
		z.send(encode(fStop(z.id(), z.number())))
	case stepCredit:
		z.send(encode(fCredit(z.id(), z.number())))
	case stepLimit:
		z.send(encode(fLimit(z.number())))
	case stepStreams:
		z.send(encode(fStreams(z.number())))
	case stepPing:
		z.send(encode(fPing(z.number())))
	case stepPong:
		z.send(encode(fPong(uint64(z.byte()))))
	case stepGoAway:
		z.send(encode(fGoAway()))
	case stepRaw:
		n := min(int(z.byte()), len(z.in))
		z.send(z.in[:n])
		z.in = z.in[n:]
	case stepHeader:
		size := []int{0, 1, 8, 16, 1024, mostFrame}[z.byte()%6]
		z.send(encode(frame{z.byte(), z.id(), text(size)}))
	case stepBulk:
		z.send(encode(fData(z.id(), text(int(z.byte())<<9))))
	case stepPart:
		b := encode(fData(z.id(), text(5000)))
		n := min(int(z.byte())*20, len(b))
		z.send(b[:n])
		z.part = b[n:]
	case stepHello:
		z.send(encode(fHello(z.number(), z.number(), z.number(), z.number())))
	case stepClose:
		if z.byte()%8 == 0 {
			z.send(encode(fClose(z.number(), "the end")))
		}
	case stepWait:
		time.Sleep(time.Duration(z.byte()) * 100 * time.Millisecond)
	default:
		z.userStep(k)
	}
}

// userStep is a step of who uses the session.
func (z *fuzzed) userStep(k byte) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	switch k {
	case stepUserOpen:
		if st, err := z.s.Open(cancelled); err == nil {
			z.streams = append(z.streams, st)
		}
		return
	case stepUserAccept:
		if st, err := z.s.Accept(cancelled); err == nil {
			z.streams = append(z.streams, st)
		}
		return
	case stepUserPing:
		z.begin(func() { z.s.Ping(context.Background()) })
		return
	case stepUserLimits:
		z.s.SetLimits(mux.Limits{MaxStreams: int(z.byte()), SessionWindow: 2 << 20, MaxStreamWindow: int(z.byte()) << 12})
		return
	case stepUserShutdown:
		if z.byte()%8 == 0 {
			z.begin(func() { z.s.Shutdown(context.Background()) })
		}
		return
	}
	st := z.stream()
	if st == nil {
		return
	}
	switch k {
	case stepUserRead:
		n := int(z.byte()) * 100
		z.begin(func() { st.Read(make([]byte, n)) })
	case stepUserWrite:
		n := int(z.byte()) * int(z.byte())
		z.begin(func() { st.Write(pattern(0, n)) })
	case stepUserCloseWrite:
		st.CloseWrite()
	case stepUserCloseRead:
		st.CloseRead()
	case stepUserClose:
		st.Close()
	case stepUserReset:
		st.Reset(z.number())
	case stepUserDeadline:
		st.SetDeadline(time.Now().Add(time.Duration(z.byte())*100*time.Millisecond - time.Second))
	}
}

// check checks what must hold after every step, whatever the peer does.
func (z *fuzzed) check() {
	synctest.Wait()
	if err := z.s.Check(); err != nil {
		z.Error(err)
	}
	if n := z.s.Stats().Unread; n > 2<<20 {
		z.Errorf("%d bytes are unread", n)
	}
	if n := z.s.Queued(); n > 2<<20 {
		z.Errorf("%d bytes are queued", n)
	}
	if n := z.s.NumStreams(); n > 256+len(z.streams) {
		z.Errorf("there are %d streams", n)
	}
	for _, err := range z.watch.problems() {
		z.Error(err)
	}
}

// FuzzSession plays a peer of any behaviour, and any user, of one session: nothing panics or hangs, memory is bounded, the
// invariants hold after every step, and the session itself keeps to the protocol.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0, stepNextOpen, stepUserAccept, stepData, 1, 100, 1, stepUserRead, 0, 5, stepLast, 1, 3, stepUserWrite, 0, 50, 2, stepUserClose, 0})
	f.Add([]byte{1, stepUserOpen, stepUserWrite, 0, 255, 255, stepCredit, 2, 7, stepStop, 2, 3, stepData, 2, 200, 7, stepUserReset, 0, 1})
	f.Add([]byte{2, stepNextOpen, stepNextOpen, stepReset, 1, 1, stepStop, 1, 1, stepUserAccept, stepBulk, 3, 127, stepUserRead, 0, 255, stepUserCloseRead, 0})
	f.Add([]byte{3, stepPart, 1, 7, stepNextOpen, stepPart, 1, 50, stepUserAccept, stepUserRead, 0, 100, stepPing, 3, stepWait, 200})
	f.Add([]byte{0, stepHeader, 4, 3, 1, stepPing, 1, stepPong, 1, stepGoAway, stepUserOpen, stepUserShutdown, 0, stepClose, 0, 1})
	f.Add([]byte{1, stepRaw, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, stepHello, 1, 1, 1, 1})
	f.Add([]byte{2, stepUserOpen, stepUserDeadline, 0, 20, stepUserRead, 0, 1, stepUserWrite, 0, 255, 255, stepWait, 50, stepUserLimits, 20, 9})
	f.Fuzz(func(t *testing.T, in []byte) {
		synctest.Test(t, func(t *testing.T) { fuzzSession(t, in) })
	})
}

func fuzzSession(t *testing.T, in []byte) {
	z := &fuzzed{T: t, in: in}
	m := z.byte()
	client := m&1 == 0
	cfg := &mux.Config{Limits: mux.Limits{MaxStreams: 20, AcceptBacklog: 20, SessionWindow: 1 << 20, MaxStreamWindow: 256 << 10}}
	a, b := pipe.New(1 << 20)
	z.conn = b
	begin := mux.Client
	if !client {
		z.end, begin = 1, mux.Server
	}
	var err error
	if z.s, err = begin(a, cfg); err != nil {
		t.Fatal(err)
	}
	if m&2 != 0 {
		mux.SetDirect(z.s)
	}
	z.watch = newWatch(client, !client)
	z.calls.Go(func() { // the peer reads
		buf := make([]byte, 64<<10)
		for {
			n, err := b.Read(buf)
			z.watch.wrote(z.end, buf[:n])
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		}
	})
	if m&4 == 0 {
		z.send(encode(fHello(helloCredit, 128<<10, helloLimit, 1<<20, helloStreams, 20)))
	}
	for n := 0; len(z.in) > 0 && n < 500 && !t.Failed(); n++ {
		z.step()
		z.check()
	}
	if m&8 == 0 {
		b.CloseWrite()
		synctest.Wait()
	}
	z.s.Close()
	b.Close()
	<-z.s.Done()
	z.calls.Wait()
	z.check()
}
