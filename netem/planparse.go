package netem

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

const (
	wordFor   = "for"
	wordNone  = "none"
	wordHosts = "hosts"
	wordPause = "pause"
)

// ReadPlan reads a plan from a file, as [ParsePlan] has it.
func ReadPlan(file string) (*Plan, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return ParsePlan(file, text)
}

// ParsePlan parses the text of a plan: a fault on each line, the time first, and comments after #.
//
//	hosts a, b, c, d, e                                     # a name that is none of these is an error
//	0s    all       latency=exp(5ms) loss=1%
//	10s   link      a <-> b   latency=uniform(1ms,9ms) bandwidth=1MB/s for 1m
//	30s   partition a,b | c,d,e                             for 20s
//	45s   crash     b                                       for 10s
//	1m    hold      a,b -> c
//
// Times are from the start of the plan. Lines may be in any order; those of one time are done in that of the file. What
// has a "for" ends after that, see [Step.For]. A name with odd characters, and one that is "for", is quoted as a Go
// string.
//
//	all RULES                      partition A,B | C,D      heal
//	link LINKS RULES               isolate A,B              crash A,B
//	hold LINKS    release LINKS    halves A,B,C             vanish A,B
//	cut LINKS     mend LINKS       bridge A,B,C             start A,B
//	clear LINKS   clear            ring A,B,C,D
//	reset LINKS   sever LINKS      one-way A,B -> C
//	                               swizzle A,B,C pause=DELAY
//
// LINKS are A,B -> C,D or, both ways, A,B <-> C,D. RULES are those of [Rules], or "none":
//
//	latency=DELAY  correlation=30%  bandwidth=1MB/s  window=64KiB  loss=1%  retransmit=200ms  slice=100
//	dial=refuse  dial=discard  dial-first=2  reset-after=1m  reset-bytes=1MB  close-bytes=1MB  close-delay=3s
//
// DELAY is a time, or one of constant(5ms), uniform(1ms,9ms), normal(5ms,1ms), exp(5ms), pareto(5ms,1.5). A number
// of bytes has no unit or B, KB, MB, GB, KiB, MiB, GiB.
//
// The error has a line for each of the first ten things that are wrong: the file, which is for nothing else, the number of the
// line, and what is wanted there.
func ParsePlan(file string, text []byte) (*Plan, error) {
	p := &parser{plan: new(Plan)}
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		p.number++
		p.line(line)
	}
	p.check()
	if err := p.join(file); err != nil {
		return nil, err
	}
	return p.plan, nil
}

// parser is what is known of a file.
type parser struct {
	plan   *Plan
	number int   // of the line
	lines  []int // of the steps
	errs   []lineError
}

type lineError struct {
	line int
	err  error
}

// check adds what is wrong with the steps. Hosts may be declared behind them.
func (p *parser) check() {
	for i, n := range p.lines {
		p.number = n
		p.wrong(p.plan.Steps[i].check(p.plan.Hosts)...)
	}
}

func (p *parser) wrong(errs ...error) {
	for _, err := range errs {
		p.errs = append(p.errs, lineError{p.number, err})
	}
}

// join returns the errors in the order of their lines.
func (p *parser) join(file string) error {
	slices.SortStableFunc(p.errs, func(a, b lineError) int { return cmp.Compare(a.line, b.line) })
	var all errorList
	for _, e := range p.errs {
		all.add(fmt.Errorf("%s:%d: %w", file, e.line, e.err))
	}
	return all.join()
}

// line parses a line.
func (p *parser) line(text string) {
	tokens, err := lex(text)
	switch {
	case err != nil:
		p.wrong(err)
	case len(tokens) == 0:
	case tokens[0] == token{aWord, wordHosts}:
		l := &lineParser{tokens: tokens[1:]}
		hosts, err := l.hosts()
		if err == nil {
			err = l.end()
		}
		if err != nil {
			p.wrong(err)
			return
		}
		for _, h := range hosts {
			if err := checkHost(h, p.plan.Hosts); err != nil {
				p.wrong(err)
				continue
			}
			p.plan.Hosts = append(p.plan.Hosts, h)
		}
	default:
		l := &lineParser{tokens: tokens}
		s, err := l.step()
		p.wrong(l.values...)
		if err != nil {
			p.wrong(err)
		}
		if err == nil && l.values == nil {
			p.plan.Steps = append(p.plan.Steps, s)
			p.lines = append(p.lines, p.number)
		}
	}
}
