package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

func TestEventText(t *testing.T) {
	for _, test := range []struct {
		name string
		e    event
		want string
	}{
		{"ready", event{Kind: eventReady, Text: "it listens"}, "it listens"},
		{"open", event{Kind: eventOpen, Conn: 3, From: "β:1", To: "α:2"}, "#3 β:1 -> α:2: open"},
		{"refused", event{Kind: eventRefused, Conn: 3, From: "β:1", To: "α:2", Error: "no"}, "#3 β:1 -> α:2: refused: no"},
		{"end", event{Kind: eventEnd, Conn: 3, From: "β:1", To: "α:2", Sent: new(int64(1)), Received: new(int64(2))}, "#3 β:1 -> α:2: ended, 1 bytes sent, 2 received"},
		{"end with an error", event{Kind: eventEnd, Conn: 3, From: "β:1", To: "α:2", Sent: new(int64(0)), Received: new(int64(0)), Error: "reset"},
			"#3 β:1 -> α:2: ended, 0 bytes sent, 0 received: reset"},
		{"a name that does something to a terminal", event{Kind: eventOpen, Conn: 1, From: "\u202e:1", To: "α:2"}, `#1 "\u202e:1" -> α:2: open`},
	} {
		if got := test.e.String(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// People hear of what is loud, of everything if they want to, and programs of everything.
func TestTeller(t *testing.T) {
	for _, test := range []struct {
		name          string
		json, verbose bool
		want          []string
	}{
		{"quiet", false, false, []string{"cmd: loud"}},
		{"verbose", false, true, []string{"cmd: quiet", "cmd: loud"}},
		{"JSON", true, false, []string{"quiet", "loud"}},
	} {
		var out bytes.Buffer
		tell := newTeller("cmd", &out, test.json, test.verbose, func(err error) { t.Error(err) })
		tell.tell(event{Kind: eventNote, Text: "quiet"}, false)
		tell.tell(event{Kind: eventNote, Text: "loud"}, true)
		tell.close()
		var got []string
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			if test.json {
				var e event
				if err := json.Unmarshal([]byte(line), &e); err != nil || e.Kind != eventNote {
					t.Errorf("%s: %q: %v", test.name, line, err)
				}
				line = e.Text
			}
			got = append(got, line)
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// A reader that does not read holds up who tells, but not the end.
func TestTellerSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		tell := newTeller("cmd", w, true, false, func(error) {})
		told := make(chan struct{})
		go func() {
			for range 1000 {
				tell.tell(event{Kind: eventNote}, true)
			}
			close(told)
		}()
		synctest.Wait()
		select {
		case <-told:
			t.Error("all was told, and nobody has read it")
		default:
		}
		start := time.Now()
		tell.close()
		if took := time.Since(start); took != tellTime {
			t.Errorf("the end took %v, want %v", took, tellTime)
		}
		<-told
		r.Close() // lets the goroutine go that writes
	})
}

// A command whose end waits for those who tell ends, too.
func TestTellerSlowReaderInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		tell := newTeller("cmd", w, true, false, func(error) {})
		var telling sync.WaitGroup
		for range 1000 {
			telling.Go(func() { tell.tell(event{Kind: eventNote}, true) })
		}
		synctest.Wait()
		start := time.Now()
		tell.hurry()
		tell.hurry()
		telling.Wait()
		tell.close()
		if took := time.Since(start); took != 2*tellTime {
			t.Errorf("the end took %v, want %v", took, 2*tellTime)
		}
		r.Close() // lets the goroutine go that writes
	})
}

// What is told when the command is about to end is still written.
func TestTellerHurry(t *testing.T) {
	var out bytes.Buffer
	tell := newTeller("cmd", &out, false, false, func(err error) { t.Error(err) })
	tell.hurry()
	for range 100 {
		tell.tell(event{Kind: eventNote}, true)
	}
	tell.close()
	if got := strings.Count(out.String(), "\n"); got != 100 {
		t.Errorf("%d lines were written, want 100", got)
	}
}

// A command that is interrupted ends though nobody reads what it tells.
func TestTellFlagsInterrupted(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	flags := tellFlags{json: true}
	err := flags.run(cmd, w, func(ctx context.Context, t *teller) error {
		var telling sync.WaitGroup
		for range 100 {
			telling.Go(func() { t.tell(event{Kind: eventNote}, true) })
		}
		interrupt()
		telling.Wait()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Without a reader, JSON ends the command, and lines for people do not.
func TestTellerNoReader(t *testing.T) {
	for _, asJSON := range []bool{true, false} {
		r, w := io.Pipe()
		r.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		tell := newTeller("cmd", w, asJSON, false, cancel)
		for range 3 {
			tell.tell(event{Kind: eventNote}, true)
		}
		tell.close()
		if err := context.Cause(ctx); errors.Is(err, io.ErrClosedPipe) != asJSON {
			t.Errorf("JSON %v: got %v", asJSON, err)
		}
		cancel(nil)
	}
}
