package registry

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
)

func BenchmarkQuery(b *testing.B) {
	m := join(b, Config{TempDir: b.TempDir()}, "n")
	for i := range 100 {
		if err := m.announce(b.Context(), fmt.Sprint("h", i)); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Query(ctx, "h50"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnnounce(b *testing.B) {
	m := join(b, Config{TempDir: b.TempDir()}, "n")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := m.announce(b.Context(), fmt.Sprint("h", i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen compares joining an existing network alone, listener included, with the bare calls that it
// cannot do without: open the database, read that the schema is right, listen.
func BenchmarkOpen(b *testing.B) {
	c := Config{TempDir: b.TempDir()}
	path := join(b, c, "n").path
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			r, err := c.Open(b.Context(), "n", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			r.Close()
			ln.Close()
			b.StartTimer()
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
			if err != nil {
				b.Fatal(err)
			}
			for _, q := range []string{"PRAGMA synchronous = OFF", "PRAGMA journal_mode = wal", selectMeta} {
				if err := bareExec(conn, q); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			conn.Close()
			ln.Close()
			b.StartTimer()
		}
	})
}

// BenchmarkAnnounce8 has eight processes announce in a closed loop, and as many run the INSERT alone through the
// same driver with its own way of waiting. It reports announcements a second over all processes, the worst one's
// milliseconds, and both as ratios to the bare INSERT's.
func BenchmarkAnnounce8(b *testing.B) {
	const writers = 8
	tmp := b.TempDir()
	children := make([]*child, writers)
	path := join(b, Config{TempDir: tmp}, "n").path
	for i := range children {
		children[i] = newChild(b)
		children[i].do("open", tmp, "n")
		children[i].do("connect", path)
		children[i].do("exec", "PRAGMA synchronous = OFF")
	}
	run := func(mode string, n int) (perSecond, worst float64) {
		const millis = 300
		at := time.Now().Add(5 * time.Millisecond).UnixNano()
		for i, c := range children {
			c.send("write", at, millis, mode, fmt.Sprint(mode, "-", n, "-", i, "-"))
		}
		for _, c := range children {
			var done int
			var us float64
			if _, err := fmt.Sscanf(c.reply(), "ok %d %g", &done, &us); err != nil {
				b.Fatal(err)
			}
			perSecond += float64(done) / millis * 1000
			worst = max(worst, us/1000)
		}
		return perSecond, worst
	}
	var rate, worst, rateBare, worstBare []float64
	n := 0
	for b.Loop() {
		r, w := run("announce", n)
		rb, wb := run("insert", n)
		rate, worst = append(rate, r), append(worst, w)
		rateBare, worstBare = append(rateBare, rb), append(worstBare, wb)
		n++
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rate), "announce/s")
	b.ReportMetric(slices.Max(worst), "worst-ms")
	b.ReportMetric(median(rate)/median(rateBare), "rate/bare")
	b.ReportMetric(slices.Max(worst)/slices.Max(worstBare), "worst/bare")
	b.ReportMetric(median(rateBare), "bare/s")
	b.ReportMetric(slices.Max(worstBare), "bare-worst-ms")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// childWrite writes rows in a closed loop: args are when to start, for how many milliseconds, how, and a prefix for the
// names. It returns how many it wrote and the longest time one took, in µs.
func childWrite(m *member, bare *sqlite.Conn, args []string) (string, error) {
	write := func(host string) error { return m.announce(context.Background(), host) }
	if args[2] == "insert" {
		stmt, err := bare.Prepare("INSERT INTO hosts (hostname, osladdr) VALUES (?, ?)")
		if err != nil {
			return "", err
		}
		write = func(host string) error {
			stmt.BindText(1, host)
			stmt.BindText(2, m.osladdr)
			_, err := stmt.Step()
			stmt.Reset()
			return err
		}
	}
	millis, err := strconv.Atoi(args[1])
	if err != nil {
		return "", err
	}
	waitUntil(args[:1])
	n, worst := 0, time.Duration(0)
	for start, last := time.Now(), time.Now(); last.Sub(start) < time.Duration(millis)*time.Millisecond; n++ {
		if err := write(args[3] + strconv.Itoa(n)); err != nil {
			return "", err
		}
		now := time.Now()
		worst = max(worst, now.Sub(last))
		last = now
	}
	return fmt.Sprint(n, " ", worst.Microseconds()), nil
}
