package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/virtnet/virtnet/bench/internal/cases"
)

// writeTables writes what was measured as Markdown.
func writeTables(w io.Writer, p plan, ms []measurement) error {
	var b strings.Builder
	rows := summarize(p, ms)
	fmt.Fprintf(&b, "%s\n", machine(p))
	ratios := filter(rows, func(r row) bool { return r.Base != "" })
	writeTable(&b, "Ratio to the baseline in the same run: median (min to max)", p, ratios, func(c cell) *spread { return c.Ratio }, true)
	for _, t := range []struct {
		kind  cases.Kind
		title string
	}{
		{cases.Main, "Medians (min to max)"},
		{cases.CPU, "Processor time of both ends together"},
		{cases.Allocs, "Heap objects allocated, both ends and the harness together"},
		{cases.More, "More"},
	} {
		of := filter(rows, func(r row) bool { return r.Kind == t.kind })
		writeTable(&b, t.title, p, of, func(c cell) *spread { return c.Value }, t.kind != cases.More)
	}
	writeFailures(&b, ms)
	_, err := io.WriteString(w, b.String())
	return err
}

func machine(p plan) string {
	return fmt.Sprintf("%s, %s %s/%s, GOMAXPROCS %d, %d runs", time.Now().UTC().Format("2006-01-02 15:04"),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), p.runs)
}

func filter(rows []row, keep func(row) bool) []row {
	var kept []row
	for _, r := range rows {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// writeTable writes a table, if there is anything in it: a line for each row, a column for each peer.
func writeTable(b *strings.Builder, title string, p plan, rows []row, value func(cell) *spread, span bool) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	head := []string{"case", "unit"}
	for _, who := range p.peers {
		head = append(head, who.Name)
	}
	lines := [][]string{append(head, "target of mux")}
	for _, r := range rows {
		line := []string{r.Case, r.Unit}
		for _, who := range p.peers {
			c, ok := r.Peers[who.Name]
			if !ok {
				line = append(line, "")
				continue
			}
			line = append(line, c.text(value(c), span))
		}
		lines = append(lines, append(line, target(r, value)))
	}
	writeAligned(b, lines)
}

// target is shown where it is one for the figures shown.
func target(r row, value func(cell) *spread) string {
	probe := cell{Ratio: &spread{}}
	ofRatio := value(probe) == probe.Ratio
	if r.Target == "" || ofRatio != (r.Base != "") {
		return ""
	}
	if got := value(r.Peers["mux"]); got != nil && !r.Target.Met(got.Median) {
		return r.Target.String() + ": MISSED"
	}
	return r.Target.String()
}

func (c cell) text(s *spread, span bool) string {
	var notes []string
	if c.Stalled > 0 {
		notes = append(notes, fmt.Sprintf("STALLED %d×", c.Stalled))
	}
	if c.Failed > 0 {
		notes = append(notes, fmt.Sprintf("FAILED %d×", c.Failed))
	}
	if s == nil {
		return cmp.Or(strings.Join(notes, ", "), "-")
	}
	text := figure(s.Median)
	if span && s.N > 1 {
		text += " (" + figure(s.Min) + " to " + figure(s.Max) + ")"
	}
	return strings.Join(append([]string{text}, notes...), ", ")
}

// figure shows three digits that count, more of large figures.
func figure(v float64) string {
	v = round(v)
	switch a := max(v, -v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.005 || a == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// writeAligned writes a Markdown table that can be read as it is.
func writeAligned(b *strings.Builder, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, text := range line {
			width[i] = max(width[i], utf8.RuneCountInString(text))
		}
	}
	rule := make([]string, len(width))
	for i, n := range width {
		rule[i] = strings.Repeat("-", n)
	}
	lines = append([][]string{lines[0], rule}, lines[1:]...)
	for _, line := range lines {
		for i, text := range line {
			fmt.Fprintf(b, "| %s%s ", text, strings.Repeat(" ", width[i]-utf8.RuneCountInString(text)))
		}
		b.WriteString("|\n")
	}
}

// writeFailures says why there are figures missing.
func writeFailures(b *strings.Builder, ms []measurement) {
	title := "\n## What went wrong\n\n"
	for _, m := range ms {
		if m.Err == "" && m.Stalled == "" {
			continue
		}
		what := "stalled: " + m.Stalled
		if m.Err != "" {
			what = "failed: " + m.Err
		}
		fmt.Fprintf(b, "%s- run %d, %s, %s %s\n", title, m.Run, m.Case, m.Peer, what)
		title = ""
	}
}
