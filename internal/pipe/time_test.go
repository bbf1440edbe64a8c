package pipe

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestTime has Reads and Writes wait for hours beside each other, in a bubble that doesn't stop the clock for them.
func TestTime(t *testing.T) {
	forSizes(t, func(t *testing.T, size int) {
		outside, outside2 := New(size)
		synctest.Test(t, func(t *testing.T) {
			inside, inside2 := New(size)
			for _, pair := range [][2]*Conn{{inside, inside2}, {outside, outside2}} {
				a, b := pair[0], pair[1]
				begin := time.Now()
				var reads, writes []<-chan result
				for range 3 {
					reads = append(reads, start(a.Read, make([]byte, 2)))
					writes = append(writes, start(a.Write, make([]byte, size+1)))
					synctest.Wait()
				}
				time.Sleep(3 * time.Hour)
				a.SetDeadline(time.Now().Add(4 * time.Hour))
				synctest.Wait()
				b.Write([]byte("xy"))
				want(t, "first read", reads[0], &result{2, nil})
				time.Sleep(4*time.Hour - 1)
				want(t, "second read", reads[1], nil)
				time.Sleep(time.Nanosecond)
				for _, c := range reads[1:] {
					want(t, "later read", c, &result{0, os.ErrDeadlineExceeded})
				}
				n := 0
				for _, c := range writes {
					r := <-c
					n += r.n
					if r.err != os.ErrDeadlineExceeded {
						t.Errorf("write: got %v", r)
					}
				}
				if n != size {
					t.Errorf("writes: got %d bytes, want the buffer's %d", n, size)
				}
				if d := time.Since(begin); d != 7*time.Hour {
					t.Errorf("got %v, want 7h", d)
				}
				a.Close()
				b.Close()
			}
		})
	})
}

// TestDeadlineMoved moves a deadline, in both directions, while a Read waits.
func TestDeadlineMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := New(0)
		defer b.Close()
		c := start(a.Read, make([]byte, 1))
		in := func(d time.Duration) { a.SetReadDeadline(time.Now().Add(d)) }
		in(time.Minute)
		in(time.Hour)
		time.Sleep(2 * time.Minute)
		want(t, "moved back", c, nil)
		a.SetReadDeadline(time.Time{})
		time.Sleep(2 * time.Hour)
		want(t, "taken away", c, nil)
		in(time.Hour)
		in(time.Minute)
		time.Sleep(time.Minute)
		want(t, "moved forward", c, &result{0, os.ErrDeadlineExceeded})

		in(time.Minute) // it works again with a new deadline
		c = start(a.Read, make([]byte, 1))
		synctest.Wait()
		if n, err := b.Write([]byte("x")); n != 1 || err != nil {
			t.Errorf("write: got %d, %v", n, err)
		}
		want(t, "new deadline", c, &result{1, nil})

		// A timer that fires late, when another deadline has been set, does nothing.
		in(time.Hour)
		a.in.timeout(&a.in.r)
		a.SetReadDeadline(time.Time{})
		a.in.timeout(&a.in.r)
		if a.in.r.expired {
			t.Error("an old timer ended a new deadline")
		}
		a.Close()
		a.in.timeout(&a.in.r)
		if a.in.r.timer != nil || a.out.w.timer != nil {
			t.Error("a closed end keeps its timers")
		}
	})
}
