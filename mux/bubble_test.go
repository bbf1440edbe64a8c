package mux_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// Everything that waits is a durable block in the sense of testing/synctest, if the carrier's waiting is: in a bubble hours pass at once,
// keep-alives and all, and nothing but time ends it.
func TestBubble(t *testing.T) {
	t.Parallel()
	const hours = 5 * time.Hour
	for _, carrier := range carriers {
		if !carrier.bubble {
			continue
		}
		for _, x := range []struct {
			name string
			// run blocks for hours, and returns the error with which that ended.
			run  func(w *two, after func(f func() error)) error
			want error
		}{
			{"Accept until Open", func(w *two, after func(func() error)) error {
				after(func() error { _, err := w.client.Open(w.ctx); return err })
				_, err := w.server.Accept(w.ctx)
				return err
			}, nil},
			{"Open until Close", func(w *two, after func(func() error)) error {
				var last *mux.Stream
				for range 16 {
					_, last = streamPair(w, w.client, w.server)
				}
				after(func() error { last.Reset(0); return last.Close() })
				_, err := w.client.Open(w.ctx)
				return err
			}, nil},
			{"Read until Write", func(w *two, after func(func() error)) error {
				c, s := w.pair()
				after(func() error { _, err := c.Write([]byte("x")); return err })
				_, err := s.Read(make([]byte, 1))
				return err
			}, nil},
			{"Read until Write, after others", func(w *two, after func(func() error)) error {
				c, s := w.pair()
				for range 50 {
					beginWrite(c, "x")
					wantText(w, s, "x")
				}
				after(func() error { _, err := c.Write([]byte("x")); return err })
				_, err := s.Read(make([]byte, 1))
				return err
			}, nil},
			{"Read until the end", func(w *two, after func(func() error)) error {
				c, s := w.pair()
				after(c.CloseWrite)
				_, err := s.Read(make([]byte, 1))
				return err
			}, io.EOF},
			{"Read until the deadline", func(w *two, _ func(func() error)) error {
				_, s := w.pair()
				s.SetReadDeadline(time.Now().Add(hours))
				_, err := s.Read(make([]byte, 1))
				return err
			}, os.ErrDeadlineExceeded},
			{"Write until Read", func(w *two, after func(func() error)) error {
				c, s := w.pair()
				c.Write(make([]byte, defaultWindow))
				after(func() error { _, err := io.ReadFull(s, make([]byte, defaultWindow)); return err })
				_, err := c.Write([]byte("x"))
				return err
			}, nil},
			{"Write until the deadline", func(w *two, _ func(func() error)) error {
				c, _ := w.pair()
				c.SetWriteDeadline(time.Now().Add(hours))
				_, err := c.Write(make([]byte, defaultWindow+1))
				return err
			}, os.ErrDeadlineExceeded},
			{"Write until the other end closes", func(w *two, after func(func() error)) error {
				c, _ := w.pair()
				after(w.server.Close)
				_, err := c.Write(make([]byte, defaultWindow+1))
				return err
			}, &mux.SessionError{Remote: true}},
			{"Accept until the context ends", func(w *two, _ func(func() error)) error {
				ctx, cancel := context.WithTimeout(w.ctx, hours)
				defer cancel()
				_, err := w.server.Accept(ctx)
				return err
			}, context.DeadlineExceeded},
			{"Shutdown until Close", func(w *two, after func(func() error)) error {
				c, s := w.pair()
				after(func() error { s.Close(); return c.Close() })
				return w.client.Shutdown(w.ctx)
			}, nil},
		} {
			t.Run(carrier.name+"/"+x.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := carrier.pair(t)
					cfg := &mux.Config{Limits: mux.Limits{MaxStreams: 16}}
					client, server := sessionsOn(t, a, b, cfg, cfg)
					w := &two{t, client, server, context.Background()}
					var began time.Time
					err := x.run(w, func(f func() error) {
						began = time.Now()
						go func() {
							time.Sleep(hours)
							if err := f(); err != nil {
								t.Error(err)
							}
						}()
					})
					if !errors.Is(err, x.want) {
						t.Errorf("got error %v, want %v", err, x.want)
					}
					// Its own end may take some milliseconds: an open waits for data, a Read that was the last for another.
					if d := time.Since(began); !began.IsZero() && (d < hours || d > hours+time.Second+10*time.Millisecond) {
						t.Errorf("it took %v, want %v", d, hours)
					}
					synctest.Wait()
				})
			})
		}
	}
}
