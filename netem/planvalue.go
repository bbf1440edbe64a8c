package netem

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// unit is how values of a type are written in a file.
type unit[T comparable] struct {
	parse func(string) (T, error)
	print func(T) string
}

// ruleField is a rule as a file has it.
type ruleField struct {
	name  string
	parse func(r *Rules, text string) error
	print func(r *Rules) string // "" if there is no such rule
}

func field[T comparable](name string, at func(*Rules) *T, u unit[T]) ruleField {
	return ruleField{
		name: name,
		parse: func(r *Rules, text string) (err error) {
			*at(r), err = u.parse(text)
			return err
		},
		print: func(r *Rules) string {
			var zero T
			if *at(r) == zero {
				return ""
			}
			return name + "=" + u.print(*at(r))
		},
	}
}

var (
	delays = unit[Delay]{parseDelay, printDelay}
	shares = unit[float64]{parseShare, printShare}
	times  = unit[time.Duration]{parseTime, shortTime}
	rates  = unit[int64]{parseRate, printRate}
	sizes  = unit[int64]{parseBytes, printBytes}
	spaces = unit[int]{parseSpace, func(n int) string { return printBytes(int64(n)) }}
	counts = unit[int]{parseCount, strconv.Itoa}
	dials  = unit[DialFault]{parseDial, printDial}
)

// ruleFields are all rules.
var ruleFields = []ruleField{
	field("latency", func(r *Rules) *Delay { return &r.Latency }, delays),
	field("correlation", func(r *Rules) *float64 { return &r.Correlation }, shares),
	field("bandwidth", func(r *Rules) *int64 { return &r.Bandwidth }, rates),
	field("window", func(r *Rules) *int { return &r.Window }, spaces),
	field("loss", func(r *Rules) *float64 { return &r.Loss }, shares),
	field("retransmit", func(r *Rules) *time.Duration { return &r.Retransmit }, times),
	field("slice", func(r *Rules) *int { return &r.Slice }, spaces),
	field("dial", func(r *Rules) *DialFault { return &r.Dial }, dials),
	field("dial-first", func(r *Rules) *int { return &r.DialFirst }, counts),
	field("reset-after", func(r *Rules) *time.Duration { return &r.ResetAfter }, times),
	field("reset-bytes", func(r *Rules) *int64 { return &r.ResetBytes }, sizes),
	field("close-bytes", func(r *Rules) *int64 { return &r.CloseBytes }, sizes),
	field("close-delay", func(r *Rules) *time.Duration { return &r.CloseDelay }, times),
}

// printRules returns the rules that there are, or "none".
func printRules(r *Rules) []string {
	var words []string
	for _, f := range ruleFields {
		if w := f.print(r); w != "" {
			words = append(words, w)
		}
	}
	if words == nil {
		return []string{wordNone}
	}
	return words
}

// parseTime parses a duration as Go has it.
func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errors.New("want a time, for example 1.5s, 20ms, 1m30s")
	}
	return d, checkTime(d)
}

// distributions are the Delays, by the names that a file has for them. A plain time is the constant one.
var distributions = []struct {
	name string
	kind kind
	args int
	want string
}{
	{"constant", constant, 1, "constant(time)"},
	{"uniform", uniform, 2, "uniform(least,most)"},
	{"normal", normalKind, 2, "normal(mean,deviation)"},
	{"exp", exponential, 1, "exp(mean)"},
	{"pareto", pareto, 2, "pareto(least,shape)"},
}

func parseDelay(text string) (Delay, error) {
	name, rest, isCall := strings.Cut(text, "(")
	if !isCall {
		d, err := parseTime(text)
		if err != nil {
			return Delay{}, errors.New("want a time, for example 20ms, or a distribution, for example exp(20ms)")
		}
		return Constant(d), nil
	}
	for _, x := range distributions {
		if x.name != name {
			continue
		}
		inside, closed := strings.CutSuffix(rest, ")")
		args := strings.Split(inside, ",")
		if !closed || len(args) != x.args {
			return Delay{}, fmt.Errorf("want %s", x.want)
		}
		d := Delay{kind: x.kind}
		for i, arg := range args {
			v, err := parseParameter(x.kind, i, arg)
			if err != nil {
				return Delay{}, fmt.Errorf("want %s: %s: %w", x.want, arg, err)
			}
			if i == 0 {
				d.a = v
			} else {
				d.b = v
			}
		}
		return d, d.check()
	}
	return Delay{}, errors.New("no such distribution; there are constant, uniform, normal, exp, pareto")
}

// parseParameter parses parameter i of a distribution.
func parseParameter(k kind, i int, text string) (float64, error) {
	if k == pareto && i == 1 {
		shape, err := strconv.ParseFloat(text, 64)
		if err != nil {
			err = errors.New("want a number, for example 1.5")
		}
		return shape, err
	}
	d, err := parseTime(text)
	return float64(d), err
}

func printDelay(d Delay) string {
	a, b := shortTime(time.Duration(d.a)), shortTime(time.Duration(d.b))
	if d.kind == pareto {
		b = strconv.FormatFloat(d.b, 'g', -1, 64)
	}
	for _, x := range distributions {
		switch {
		case x.kind != d.kind:
		case x.args == 2:
			return fmt.Sprintf("%s(%s,%s)", x.name, a, b)
		case x.kind != constant:
			return fmt.Sprintf("%s(%s)", x.name, a)
		}
	}
	return a
}

// parseShare parses a part of 1, or percent.
func parseShare(text string) (float64, error) {
	digits, percent := strings.CutSuffix(text, "%")
	x, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, errors.New("want percent or a fraction, for example 1% or 0.01")
	}
	if percent {
		x /= 100
	}
	return x, nil
}

// printShare returns percent, if that is the same number.
func printShare(x float64) string {
	fraction := strconv.FormatFloat(x, 'g', -1, 64)
	percent := strconv.FormatFloat(x*100, 'g', 6, 64) + "%"
	if y, err := parseShare(percent); err == nil && y == x {
		return percent
	}
	return fraction
}

var dialFaults = []string{DialPass: "pass", DialRefuse: "refuse", DialDiscard: "discard"}

func parseDial(text string) (DialFault, error) {
	for i, s := range dialFaults {
		if s == text {
			return DialFault(i), nil
		}
	}
	return 0, fmt.Errorf("want one of %s", strings.Join(dialFaults, ", "))
}

func printDial(d DialFault) string {
	if int(d) < len(dialFaults) {
		return dialFaults[d]
	}
	return strconv.Itoa(int(d)) // which Check finds
}

func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("want a number, for example 3")
	}
	return n, nil
}
