package mux_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// Credit that a peer does not read, while it sends data, is bounded too, also if nobody watches whether it is alive.
func TestCreditNotRead(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t, m, &mux.Config{KeepAlive: -1}, 64<<10)
				p.greet(helloCredit, 1<<20, helloLimit, 32<<20, helloStreams, 1024)
				st := p.accept(1)
				beginWrite(p.begin(), text(500_000)).wantBlocked(t) // the carrier is full
				go readOn(st)
				if !long() {
					p.s.PretendAnswers(mux.ControlBound - 10_000)
				}
				frame := encode(fData(st.ID(), text(16<<10)))
				sent := 0
				for p.s.Err() == nil && sent < 4<<30 {
					p.raw(frame)
					sent += 16 << 10
					synctest.Wait()
				}
				if err := p.s.Err(); !errors.Is(err, &mux.SessionError{Code: codeFlood, Protocol: true}) {
					t.Errorf("after %d bytes: %v", sent, err)
				}
				if !long() && sent < 10<<20 {
					t.Errorf("the session has ended after %d bytes, though 10,000 bytes of credit might wait", sent)
				}
			})
		})
	}
}

// Of what the program itself causes any amount may wait for the carrier: many streams that are opened and closed at once are no
// flood of the other end's, be it that this sends pings.
func TestOwnFramesAreNoFlood(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const streams = mux.ControlBound / 12
				p := newPeer(t, m, &mux.Config{KeepAlive: -1}, 64<<10)
				p.greet(helloCredit, 1<<20, helloLimit, 32<<20, helloStreams, 2*streams)
				beginWrite(p.begin(), text(500_000)).wantBlocked(t) // the carrier is full
				for range streams {
					p.begin().Close()
				}
				if n := p.s.Queued(); n < 2*mux.ControlBound {
					t.Errorf("%d bytes are queued, want at least %d", n, 2*mux.ControlBound)
				}
				for i := range 100 {
					p.write(fPing(uint64(i)))
					synctest.Wait()
				}
				if err := p.s.Err(); err != nil {
					t.Errorf("100 pings end the session: %v", err)
				}
				pongs := 0
				for _, f := range p.drain() {
					if f.kind == pong {
						pongs++
					}
				}
				if pongs != 100 {
					t.Errorf("%d pongs, want 100", pongs)
				}
				// Nor does the session keep that much memory when it is at rest.
				time.Sleep(time.Minute)
				if n := p.s.Buffers(); n > 32<<10 {
					t.Errorf("buffers of %d bytes are left, want at most 32 KiB", n)
				}
			})
		})
	}
}
