package netem_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// Times and sizes of what they do. The odd nanoseconds keep one thing from being late at the instant at which another
// begins: of two things at one instant, on one host, either may be the first.
const (
	beatEvery  = 2 * time.Second
	beatLate   = 9*time.Second + 3
	redialWait = time.Second + 7
	roundEvery = 10 * time.Second
	askLate    = 8*time.Second + 11
	answers    = 10_000 // the most bytes that an answer has
)

// nineHosts live for a while. Each sends every other one a heartbeat every other second, on a connection of its own
// that it dials again when it is broken, and notices when those of another stay away. And three workers on each host
// ask three others, all of them at the same instants, and check the answers. Meanwhile partitions come and go.
type nineHosts struct {
	t     *testing.T
	ctx   context.Context
	net   *pipenet.Network
	em    *netem.Net
	began time.Time
	until time.Time
	names []string
	log   [][]event // by host, so that they don't wait for each other
	mu    []sync.Mutex
}

// event is something that happened to host src, to do with dst.
type event struct {
	at       time.Duration
	src, dst uint8
	what     what
	index    int32 // of the heartbeat, or of the round and the worker
	n        int32
}

type what uint8

const (
	beat what = iota
	silent
	connected
	dialFailed
	broken
	asked
	askFailed
	served
	answered
	wrong
	cut
)

var whats = []string{"beat", "silent", "connected", "dial failed", "broken", "asked", "ask failed", "served", "answered",
	"wrong", "cut"}

func (e event) String() string {
	return fmt.Sprintf("%v %d to %d: %s, index %d, %d", e.at, e.src, e.dst, whats[e.what], e.index, e.n)
}

func (e event) compare(f event) int {
	return cmp.Or(cmp.Compare(e.at, f.at), cmp.Compare(e.src, f.src), cmp.Compare(e.dst, f.dst), cmp.Compare(e.index, f.index),
		cmp.Compare(e.what, f.what), cmp.Compare(e.n, f.n))
}

// hosts is how many there are.
const hosts = 9

// live runs them for that long, in a bubble, and returns all that happened, in order, and the real time it took.
func live(t *testing.T, seed uint64, long time.Duration) ([]event, time.Duration) {
	c := &nineHosts{t: t, log: make([][]event, hosts), mu: make([]sync.Mutex, hosts)}
	for i := range hosts {
		c.names = append(c.names, fmt.Sprint("h", i))
	}
	began := time.Now()
	synctest.Test(t, func(t *testing.T) { c.run(t, seed, long) })
	took := time.Since(began)
	all := slices.Concat(c.log...)
	slices.SortFunc(all, event.compare)
	return all, took
}

func (c *nineHosts) run(t *testing.T, seed uint64, long time.Duration) {
	c.t, c.ctx, c.em = t, t.Context(), netem.New(seed)
	c.began = time.Now()
	c.until = c.began.Add(long)
	rules := netem.Rules{Latency: netem.Exponential(20 * ms), Correlation: 0.3, Loss: 0.01}
	if err := c.em.SetAll(rules); err != nil {
		t.Fatal(err)
	}
	c.net = pipenet.Config{Emulator: c.em, Buffer: -1}.New("hour")
	var work sync.WaitGroup
	for i := range hosts {
		c.serve(&work, i, ":1", c.hear)
		c.serve(&work, i, ":2", c.answer)
	}
	for i := range hosts {
		for j := range hosts {
			if i != j {
				work.Go(func() { c.beat(i, j) })
			}
		}
		for w := range 3 {
			work.Go(func() { c.work(i, w) })
		}
	}
	work.Go(func() { c.part(rand.New(rand.NewPCG(seed, 9))) })
	time.Sleep(time.Until(c.until))
	if err := c.net.Close(); err != nil {
		t.Error(err)
	}
	work.Wait()
}

// note notes what happens, as long as they live: how it ends has no order.
func (c *nineHosts) note(src, dst int, w what, index, n int) {
	now := time.Now()
	if !now.Before(c.until) {
		return
	}
	c.mu[src].Lock()
	defer c.mu[src].Unlock()
	c.log[src] = append(c.log[src], event{now.Sub(c.began), uint8(src), uint8(dst), w, int32(index), int32(n)})
}

func (c *nineHosts) host(i int) *virtnet.Host { return c.net.Host(c.names[i]) }

// over tells whether their life is over.
func (c *nineHosts) over() bool { return !time.Now().Before(c.until) }

// serve accepts connections on a host, each for a goroutine of its own.
func (c *nineHosts) serve(work *sync.WaitGroup, i int, addr string, handle func(i int, conn net.Conn)) {
	l, err := c.host(i).Listen(c.ctx, addr)
	if err != nil {
		c.t.Fatal(err)
	}
	work.Go(func() {
		for {
			conn, err := l.Accept(c.ctx)
			if err != nil {
				return
			}
			work.Go(func() { handle(i, conn) })
		}
	})
}

// message is what heartbeats and questions are: who sends it, its number, and how long the answer shall be.
type message struct{ src, index, size int }

const messageSize = 12

func send(conn net.Conn, m message) error {
	b := make([]byte, 0, messageSize)
	for _, x := range []int{m.src, m.index, m.size} {
		b = binary.BigEndian.AppendUint32(b, uint32(x))
	}
	_, err := conn.Write(b)
	return err
}

func receive(conn net.Conn) (message, error) {
	b := make([]byte, messageSize)
	_, err := io.ReadFull(conn, b)
	at := func(i int) int { return int(binary.BigEndian.Uint32(b[i:])) }
	return message{at(0), at(4), at(8)}, err
}

// beat sends the heartbeats of one host to one other.
func (c *nineHosts) beat(i, j int) {
	time.Sleep(time.Duration(i)*101*ms + time.Duration(j)*11*ms)
	for index := 0; !c.over(); {
		ctx, cancel := context.WithTimeout(c.ctx, beatLate)
		conn, err := c.host(i).Dial(ctx, c.names[j]+":1")
		cancel()
		if err != nil {
			c.note(i, j, dialFailed, index, code(err))
			time.Sleep(redialWait)
			continue
		}
		c.note(i, j, connected, index, 0)
		for ; err == nil && !c.over(); index++ {
			err = send(conn, message{src: i, index: index})
			time.Sleep(beatEvery)
		}
		c.note(i, j, broken, index, code(err))
		_ = conn.Close()
	}
}

// hear gets the heartbeats of a connection.
func (c *nineHosts) hear(i int, conn net.Conn) {
	defer conn.Close()
	last := message{src: i}
	for {
		_ = conn.SetReadDeadline(time.Now().Add(beatLate))
		m, err := receive(conn)
		if err != nil {
			c.note(i, last.src, silent, last.index, code(err))
			return
		}
		c.note(i, m.src, beat, m.index, 0)
		last = m
	}
}

// work is a worker of host i: at the same instants as all others it asks another host, no two of one host the same.
func (c *nineHosts) work(i, w int) {
	for round := 0; !c.over(); round++ {
		time.Sleep(time.Until(c.began.Add(time.Duration(round) * roundEvery)))
		j := (i + 1 + (3*round+w)%(hosts-1)) % hosts
		c.ask(i, j, 3*round+w)
	}
}

// ask asks host j something, and checks the answer.
func (c *nineHosts) ask(i, j, index int) {
	ctx, cancel := context.WithTimeout(c.ctx, askLate)
	defer cancel()
	conn, err := c.host(i).Dial(ctx, c.names[j]+":2")
	if err != nil {
		c.note(i, j, dialFailed, index, code(err))
		return
	}
	defer conn.Close()
	c.note(i, j, asked, index, 0)
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	size := (index*7919 + i*104729) % answers
	if err := send(conn, message{i, index, size}); err != nil {
		c.note(i, j, askFailed, index, code(err))
		return
	}
	got, err := io.ReadAll(conn)
	switch {
	case err != nil:
		c.note(i, j, askFailed, index, code(err))
	case len(got) != size+4 || binary.BigEndian.Uint32(got[size:]) != crc32.ChecksumIEEE(got[:size]):
		c.note(i, j, wrong, index, len(got))
	default:
		c.note(i, j, answered, index, size)
	}
}

// answer answers a question: bytes, and their checksum.
func (c *nineHosts) answer(i int, conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(askLate))
	m, err := receive(conn)
	if err != nil {
		return
	}
	c.note(i, m.src, served, m.index, m.size)
	text := make([]byte, m.size, m.size+4)
	for k := range text {
		text[k] = byte(k * m.index)
	}
	_, _ = conn.Write(binary.BigEndian.AppendUint32(text, crc32.ChecksumIEEE(text)))
}

// part has partitions come and go, of every kind.
func (c *nineHosts) part(rnd *rand.Rand) {
	pause := func(most time.Duration) bool {
		time.Sleep(time.Duration(1 + rnd.Int64N(int64(most))))
		return !c.over()
	}
	for kind := 0; pause(3 * time.Minute); kind++ {
		names := slices.Clone(c.names)
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		var p *netem.Partition
		switch kind % 6 {
		case 0:
			p = c.em.Isolate(names[0])
		case 1:
			p = c.em.Halves(names...)
		case 2:
			p = c.em.Bridge(names...)
		case 3:
			p = c.em.OneWay(names[:3], names[3:])
		case 4:
			p = c.em.Ring(names...)
		case 5:
			_ = c.em.Swizzle(c.ctx, netem.Uniform(time.Second, 20*time.Second), names[:4]...)
			continue
		}
		c.note(0, 0, cut, kind, 0)
		pause(time.Minute)
		p.Heal()
	}
}

// code is which error it is, without the ports that it names: the dials of a host race for those.
func code(err error) int {
	for i, e := range []error{nil, io.EOF, os.ErrDeadlineExceeded, context.DeadlineExceeded, virtnet.ErrConnRefused,
		io.ErrUnexpectedEOF, net.ErrClosed, io.ErrClosedPipe} {
		if errors.Is(err, e) {
			return i
		}
	}
	return 99
}
