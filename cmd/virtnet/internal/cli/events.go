package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// What a command that has connections tells while it runs: lines for people, or JSON.

// eventKind is what an event is about.
type eventKind string

const (
	eventReady   eventKind = "ready"   // the command listens at Listen, on Network as Host
	eventOpen    eventKind = "open"    // a connection is there, with both of its halves
	eventRefused eventKind = "refused" // a connection was reset: its other half could not be dialled, for Error
	eventEnd     eventKind = "end"     // a connection has ended; in good order unless there is an Error
	eventNote    eventKind = "note"    // Text, for people
)

// An event is a line of what --json prints. What a kind of event has no use for is left out.
type event struct {
	Seconds float64   `json:"seconds"` // since the command began
	Kind    eventKind `json:"event"`

	// Of the command: ready.
	Network string `json:"network,omitempty"`
	Host    string `json:"host,omitempty"`
	Listen  string `json:"listen,omitempty"` // where it accepts, virtual or local
	Target  string `json:"target,omitempty"` // where that leads, if it is one place
	Text    string `json:"text,omitempty"`   // what people read instead of the above

	// Of a connection: open, refused, end.
	Conn     int    `json:"conn,omitempty"`     // its number, from 1
	From     string `json:"from,omitempty"`     // who connected
	At       string `json:"at,omitempty"`       // to which address
	Protocol string `json:"protocol,omitempty"` // of a proxy: what From speaks, "socks5", "connect", "http"
	Via      string `json:"via,omitempty"`      // with which address the connection goes on
	To       string `json:"to,omitempty"`       // to where
	Accepted string `json:"accepted,omitempty"` // at which address, which on a virtual network is another
	Sent     *int64 `json:"sent,omitempty"`     // end: bytes from From to To
	Received *int64 `json:"received,omitempty"` // end: bytes from To to From
	Error    string `json:"error,omitempty"`
}

// String is the event for people.
func (e event) String() string {
	who := fmt.Sprintf("#%d %s -> %s", e.Conn, printable(e.From), printable(e.To))
	switch e.Kind {
	case eventOpen:
		return who + ": open"
	case eventRefused:
		return who + ": refused: " + e.Error
	case eventEnd:
		s := fmt.Sprintf("%s: ended, %d bytes sent, %d received", who, *e.Sent, *e.Received)
		if e.Error != "" {
			s += ": " + e.Error
		}
		return s
	}
	return e.Text
}

// ended is the end of the connection that e is about.
func (e event) ended(r bridge.Result) event {
	e.Kind, e.Sent, e.Received = eventEnd, &r.AtoB, &r.BtoA
	if r.Err != nil {
		e.Error = r.Err.Error()
	}
	return e
}

// tellFlags are the flags that say what is told, and how.
type tellFlags struct{ json, verbose bool }

// add adds the flags to a command whose JSON goes to where.
func (f *tellFlags) add(cmd *cobra.Command, where string) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print what happens on standard "+where+" as JSON, a value a line")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say on standard error when a connection begins and ends")
}

// run calls do with what it tells events to: JSON on out, or lines for people on standard error. The context ends, too,
// when nobody reads the JSON any more; then that is the error, whatever do returns.
func (f *tellFlags) run(cmd *cobra.Command, out io.Writer, do func(context.Context, *teller) error) error {
	defer writeErrors()()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	if !f.json {
		out = cmd.ErrOrStderr()
	}
	t := newTeller(cmd.CommandPath(), out, f.json, f.verbose, cancel)
	defer context.AfterFunc(ctx, t.hurry)() // do may wait for those who tell
	err := do(ctx, t)
	t.close()
	if ctx.Err() != nil && cmd.Context().Err() == nil {
		return context.Cause(ctx)
	}
	return err
}

// tellTime is how long each of the last events may wait for those before it, and then all of them take to be written.
const tellTime = time.Second

// A teller writes events. A reader that is slow holds up who tells, but never the end of the command; one that is gone
// ends the command, if it was to get JSON.
type teller struct {
	name    string // of the command
	out     io.Writer
	json    bool
	verbose bool        // people want to hear of every connection, too
	fail    func(error) // is called once, when events cannot be written
	begun   time.Time

	events  chan event
	hurried chan struct{} // closed by hurry
	hurry   func()        // says that the command is about to end: it is not held up for long any more
	ending  chan struct{} // closed when the command ends
	done    chan struct{} // closed when all is written
}

// newTeller returns a teller. It has a goroutine, which close ends.
func newTeller(name string, out io.Writer, asJSON, verbose bool, fail func(error)) *teller {
	t := &teller{
		name: name, out: out, json: asJSON, verbose: verbose, fail: fail, begun: time.Now(),
		events: make(chan event, 64), hurried: make(chan struct{}), ending: make(chan struct{}), done: make(chan struct{}),
	}
	t.hurry = sync.OnceFunc(func() { close(t.hurried) })
	go t.writeAll()
	return t
}

// tell tells an event. Of people, those hear of it who want to hear of everything; all do if it is loud.
func (t *teller) tell(e event, loud bool) {
	if !t.json && !t.verbose && !loud {
		return
	}
	e.Seconds = time.Since(t.begun).Round(time.Microsecond).Seconds()
	select {
	case t.events <- e:
		return
	case <-t.ending:
		return
	case <-t.hurried:
	}
	late := time.NewTimer(tellTime)
	defer late.Stop()
	select {
	case t.events <- e:
	case <-t.ending:
	case <-late.C:
	}
}

// close waits until all is written that was told, but not for long. It is called once.
func (t *teller) close() {
	close(t.ending)
	select {
	case <-t.done:
	case <-time.After(tellTime):
	}
}

func (t *teller) writeAll() {
	defer close(t.done)
	var failed error
	write := func(e event) {
		if failed == nil {
			if failed = t.write(e); failed != nil {
				t.fail(fmt.Errorf("the events could not be written: %w", failed))
			}
		}
	}
	for {
		select {
		case e := <-t.events:
			write(e)
			continue
		case <-t.ending:
		}
		for len(t.events) > 0 {
			write(<-t.events)
		}
		return
	}
}

// write writes an event. People who do not read what they are told are no error.
func (t *teller) write(e event) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(e)
	}
	fmt.Fprintf(t.out, "%s: %s\n", t.name, e)
	return nil
}
