package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tell gives an account of every kind of thing.
func tell(a account) {
	a.step(1, "one")
	time.Sleep(50 * time.Millisecond)
	a.progress("long progress")
	a.progress("too soon")
	time.Sleep(50 * time.Millisecond)
	a.progress("short")
	a.say("a fact")
	a.step(2, "two")
	a.event(event{Kind: ready, Host: "α", PID: 7})
	a.check(true, "good")
	time.Sleep(1400 * time.Millisecond)
	a.progress("later")
	a.check(false, "bad")
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		name     string
		terminal bool
		err      error
		early    bool
		want     string
	}{
		{"file", false, nil, false, "1. one\n     a fact\n\n2. two\n   ✓ good\n     later\n   ✗ bad\n\nAll 2 checks held, in 1.5s.\n"},
		{"terminal", true, errors.New("bad"), false, "1. one\n" +
			"\r     long progress\r     short        \r          \r     a fact\n" +
			"\n2. two\n   ✓ good\n\r     later\r          \r   ✗ bad\n\nThe demo failed, after 1.5s.\n"},
		{"stopped", false, errors.New("bad"), true, "1. one\n     a fact\n\n2. two\n   ✓ good\n     later\n   ✗ bad\n\nThe demo was stopped, after 1.5s.\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				a := newText(&out, test.terminal)
				tell(a)
				a.end(test.err, test.early, 2)
				if got := out.String(); got != test.want {
					t.Errorf("got  %q\nwant %q", got, test.want)
				}
			})
		})
	}
}

func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := newJSON(&out)
		tell(a)
		a.end(errors.New("bad"), false, 2)
		want := strings.Join([]string{
			`{"seconds":0,"event":"step","step":1,"text":"one"}`,
			`{"seconds":0.1,"event":"fact","text":"a fact"}`,
			`{"seconds":0.1,"event":"step","step":2,"text":"two"}`,
			`{"seconds":0.1,"event":"ready","host":"α","pid":7}`,
			`{"seconds":0.1,"event":"check","ok":true,"text":"good"}`,
			`{"seconds":1.5,"event":"check","ok":false,"text":"bad"}`,
			`{"seconds":1.5,"event":"result","ok":false,"checks":2,"error":"bad"}`,
		}, "\n") + "\n"
		if got := out.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		for dec := json.NewDecoder(&out); ; {
			var v map[string]any
			if err := dec.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCount(t *testing.T) {
	for n, want := range []string{"0 files", "1 file", "2 files"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		212_345: "212µs", 12_345_678: "12.3ms", 1_234_567_890: "1.23s",
	} {
		if got := brief(d); got != want {
			t.Errorf("brief(%d) = %q, want %q", d, got, want)
		}
	}
}
