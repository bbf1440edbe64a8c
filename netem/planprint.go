package netem

import (
	"encoding"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

var (
	_ encoding.TextMarshaler   = (*Plan)(nil)
	_ encoding.TextUnmarshaler = (*Plan)(nil)
)

// String returns the plan as a file has it. [ParsePlan] of that is the same plan, if nothing is wrong with it.
func (p *Plan) String() string {
	var b strings.Builder
	if len(p.Hosts) > 0 {
		fmt.Fprintf(&b, "hosts %s\n", names(p.Hosts))
	}
	var steps strings.Builder
	columns := tabwriter.NewWriter(&steps, 0, 0, 2, ' ', 0)
	for _, s := range p.Steps {
		object, tail := s.text()
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\n", shortTime(s.at), s.verb, object, tail)
	}
	_ = columns.Flush() // to memory
	for line := range strings.Lines(steps.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// MarshalText is String, and an error if something is wrong with the plan.
func (p *Plan) MarshalText() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	return []byte(p.String()), nil
}

// UnmarshalText is [ParsePlan]; the errors tell the line of "plan".
func (p *Plan) UnmarshalText(text []byte) error {
	q, err := ParsePlan("plan", text)
	if err == nil {
		*p = *q
	}
	return err
}

// String returns the step as the line of a file.
func (s Step) String() string { return strings.TrimSpace(shortTime(s.at) + " " + s.what()) }

// what returns the line without the time.
func (s *Step) what() string {
	object, tail := s.text()
	words := []string{string(s.verb), object, tail}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// text returns what follows the verb: what it is about, and how.
func (s *Step) text() (object, tail string) {
	i := s.verb.find()
	if i < 0 {
		return "", ""
	}
	switch verbs[i].object {
	case hostList, groupList:
		lists := make([]string, len(s.groups))
		for i, g := range s.groups {
			lists[i] = names(g)
		}
		object = strings.Join(lists, " | ")
	case linkList, wayOnly, maybeLinks:
		if !s.links.none() {
			object = names(s.links.From) + arrow(s.links.Both) + names(s.links.To)
		}
	}
	var words []string
	switch {
	case verbs[i].rules:
		words = printRules(&s.rules)
	case s.verb == verbSwizzle:
		words = []string{"pause=" + printDelay(s.pause)}
	}
	if s.length != 0 {
		words = append(words, "for "+shortTime(s.length))
	}
	return object, strings.Join(words, " ")
}

func arrow(both bool) string {
	if both {
		return " <-> "
	}
	return " -> "
}

// names returns a list of hosts as a file has it.
func names(hosts []string) string {
	quoted := make([]string, len(hosts))
	for i, h := range hosts {
		quoted[i] = name(h)
	}
	return strings.Join(quoted, ",")
}

// name returns a host's name, quoted where it needs to be.
func name(host string) string {
	odd := func(r rune) bool {
		return r == unicode.ReplacementChar || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
	}
	if host == "" || host == wordFor || strings.ContainsFunc(host, odd) {
		return strconv.Quote(host)
	}
	return host
}

// shortTime returns d without the zeros at its end: 1m, and not 1m0s.
func shortTime(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
