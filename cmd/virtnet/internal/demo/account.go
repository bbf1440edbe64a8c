package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// An account is how the story is told. One goroutine has it.
type account interface {
	step(n int, title string)     // a part begins
	say(text string)              // a fact
	check(held bool, text string) // something that had to be shown, and whether it was
	progress(text string)         // how far it is; replaces the last one
	event(e event)                // a process has told something

	// end is the outcome: why it failed, whether that is only that it was stopped, and how much was checked.
	end(err error, early bool, checks int)
}

// An outlet is where an account goes. The first Write that fails stops the demo: nobody hears the rest of it.
type outlet struct {
	to   io.Writer
	stop func(error)
	err  error // why nothing more can be written
}

func (o *outlet) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(b)
	if err != nil {
		o.err = fmt.Errorf("the account could not be written: %w", err)
		o.stop(o.err)
	}
	return n, err
}

// A text is an account for people.
type text struct {
	out      io.Writer
	terminal bool
	begun    time.Time
	width    int       // of the progress that is on the line, in columns
	last     time.Time // when progress was last written
}

func newText(out io.Writer, terminal bool) *text {
	return &text{out: out, terminal: terminal, begun: time.Now(), last: time.Now()}
}

// line writes a line, over the progress if there is one.
func (t *text) line(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if t.width > 0 {
		fmt.Fprintf(t.out, "\r%*s\r", t.width, "")
		t.width = 0
	}
	fmt.Fprintln(t.out, s)
}

func (t *text) step(n int, title string) {
	if n > 1 {
		t.line("")
	}
	t.line("%d. %s", n, title)
}

func (t *text) say(s string) { t.line("     %s", s) }

func (t *text) check(held bool, s string) {
	mark := "✓"
	if !held {
		mark = "✗"
	}
	t.line("   %s %s", mark, s)
}

// progress writes over the last one on a terminal, and elsewhere a line now and then.
func (t *text) progress(s string) {
	every := time.Second
	if t.terminal {
		every = 50 * time.Millisecond
	}
	now := time.Now()
	if now.Sub(t.last) < every {
		return
	}
	t.last = now
	s = "     " + s
	if !t.terminal {
		t.line("%s", s)
		return
	}
	width := utf8.RuneCountInString(s)
	fmt.Fprintf(t.out, "\r%s%*s", s, max(t.width-width, 0), "")
	t.width = width
}

func (t *text) event(event) {}

func (t *text) end(err error, early bool, checks int) {
	took := brief(time.Since(t.begun))
	switch { // who called Run prints why
	case early:
		t.line("\nThe demo was stopped, after %s.", took)
	case err != nil:
		t.line("\nThe demo failed, after %s.", took)
	default:
		t.line("\nAll %d checks held, in %s.", checks, took)
	}
}

// A jsonLines is an account for programs: every part of it is a JSON value on a line of its own. What a process tells
// is passed on as it is, with the time.
type jsonLines struct {
	out   *json.Encoder
	begun time.Time
}

func newJSON(out io.Writer) *jsonLines {
	return &jsonLines{json.NewEncoder(out), time.Now()}
}

// A jsonLine has a name of what it is in Event, and what belongs to that.
type jsonLine struct {
	Seconds float64 `json:"seconds"` // since the demo began
	Event   string  `json:"event"`   // "step", "fact", "check", "result"
	Step    int     `json:"step,omitempty"`
	OK      *bool   `json:"ok,omitempty"` // check, result
	Text    string  `json:"text,omitempty"`
	Checks  int     `json:"checks,omitempty"` // result
	Error   string  `json:"error,omitempty"`  // result
}

func (j *jsonLines) write(l jsonLine) {
	l.Seconds = j.seconds()
	j.out.Encode(l)
}

func (j *jsonLines) seconds() float64 { return time.Since(j.begun).Round(time.Microsecond).Seconds() }

func (j *jsonLines) step(n int, title string) { j.write(jsonLine{Event: "step", Step: n, Text: title}) }
func (j *jsonLines) say(s string)             { j.write(jsonLine{Event: "fact", Text: s}) }
func (j *jsonLines) progress(string)          {}

func (j *jsonLines) check(held bool, s string) {
	j.write(jsonLine{Event: "check", OK: &held, Text: s})
}

func (j *jsonLines) event(e event) {
	j.out.Encode(struct {
		Seconds float64 `json:"seconds"`
		event
	}{j.seconds(), e})
}

func (j *jsonLines) end(err error, _ bool, checks int) {
	l := jsonLine{Event: "result", OK: new(err == nil), Checks: checks}
	if err != nil {
		l.Error = err.Error()
	}
	j.write(l)
}
