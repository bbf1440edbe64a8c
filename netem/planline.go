package netem

import (
	"errors"
	"fmt"
	"strings"
)

// lineParser parses the tokens of a line.
type lineParser struct {
	tokens []token
	values []error // what is wrong with values: the rest of the line is read on
}

// peek returns the next token, one of the kind endOfLine if there is none.
func (l *lineParser) peek() token {
	if len(l.tokens) == 0 {
		return token{}
	}
	return l.tokens[0]
}

// take takes the next token if it is the mark m.
func (l *lineParser) take(m string) bool {
	ok := l.peek() == token{mark, m}
	if ok {
		l.tokens = l.tokens[1:]
	}
	return ok
}

// word takes the next token, which must be a bare word; want says of which kind.
func (l *lineParser) word(want string) (string, error) {
	t := l.peek()
	if t.kind != aWord {
		return "", fmt.Errorf("want %s, not %v", want, t)
	}
	l.tokens = l.tokens[1:]
	return t.text, nil
}

// String returns the token as it stands in the file.
func (t token) String() string {
	switch t.kind {
	case endOfLine:
		return "the end of the line"
	case quoted:
		return fmt.Sprintf("%q", t.text)
	case aValue:
		return "=" + t.text
	}
	return t.text
}

// step parses a line that is a step.
func (l *lineParser) step() (Step, error) {
	var s Step
	text, err := l.word("a time")
	if err != nil {
		return s, err
	}
	if s.at, err = parseTime(text); err != nil {
		return s, fmt.Errorf("%s: %w", text, err)
	}
	if text, err = l.word("a fault"); err != nil {
		return s, err
	}
	s.verb = verb(text)
	i := s.verb.find()
	if i < 0 {
		return s, fmt.Errorf("%s: no such fault; there are %s", text, verbNames())
	}
	if err := l.object(&s, verbs[i].object); err != nil {
		return s, fmt.Errorf("%s: %w", s.verb, err)
	}
	if err := l.settings(&s, verbs[i].rules); err != nil {
		return s, fmt.Errorf("%s: %w", s.verb, err)
	}
	if err := l.length(&s); err != nil {
		return s, err
	}
	return s, l.end()
}

func verbNames() string {
	all := make([]string, len(verbs))
	for i, v := range verbs {
		all[i] = string(v.verb)
	}
	return strings.Join(all, ", ")
}

// object parses what the step is about.
func (l *lineParser) object(s *Step, o object) (err error) {
	switch {
	case o == noObject || o == maybeLinks && len(l.tokens) == 0:
		return nil
	case o == hostList || o == groupList:
		for {
			group, err := l.hosts()
			if err != nil {
				return err
			}
			s.groups = append(s.groups, group)
			if o == hostList || !l.take("|") {
				return nil
			}
		}
	}
	if s.links.From, err = l.hosts(); err != nil {
		return err
	}
	s.links.Both = l.take("<->")
	if !s.links.Both && !l.take("->") {
		if o == wayOnly {
			return fmt.Errorf("want -> or more hosts after a comma, not %v", l.peek())
		}
		return fmt.Errorf("want -> for one way or <-> for both, not %v", l.peek())
	}
	s.links.To, err = l.hosts()
	return err
}

// hosts parses names with commas between them.
func (l *lineParser) hosts() (list []string, err error) {
	for {
		t := l.peek()
		if t.kind != quoted && t.kind != aWord || t == (token{aWord, wordFor}) {
			return nil, fmt.Errorf("want a host, not %v", t)
		}
		l.tokens = l.tokens[1:]
		list = append(list, t.text)
		if !l.take(",") {
			return list, nil
		}
	}
}

// settings parses the words with values. What is wrong with a value goes to l.values.
func (l *lineParser) settings(s *Step, rules bool) error {
	if rules && l.peek() == (token{aWord, wordNone}) {
		l.tokens = l.tokens[1:]
		return nil
	}
	seen := make(map[string]bool)
	for len(l.tokens) > 1 && l.tokens[1].kind == aValue {
		key, value := l.tokens[0], l.tokens[1]
		l.tokens = l.tokens[2:]
		err := s.setting(key.text, value.text, rules)
		if seen[key.text] {
			err = errors.New("it is there twice")
		}
		if seen[key.text] = true; err != nil {
			l.values = append(l.values, fmt.Errorf("%v%v: %w", key, value, err))
		}
	}
	if rules && len(seen) == 0 {
		return fmt.Errorf("want rules, for example latency=20ms, or none, not %v", l.peek())
	}
	return nil
}

// setting sets one rule, or the pause.
func (s *Step) setting(key, value string, rules bool) (err error) {
	if !rules && key == wordPause && s.verb == verbSwizzle {
		s.pause, err = parseDelay(value)
		return err
	}
	if !rules {
		return fmt.Errorf("%s takes no such word", s.verb)
	}
	all := make([]string, 0, len(ruleFields))
	for _, f := range ruleFields {
		if f.name == key {
			var alone Rules // so that what is wrong is this value
			if err := f.parse(&alone, value); err != nil {
				return err
			}
			if err := alone.Check(); err != nil {
				return errors.New(strings.TrimPrefix(err.Error(), "netem: "))
			}
			return f.parse(&s.rules, value)
		}
		all = append(all, f.name)
	}
	return fmt.Errorf("no such rule; there are %s", strings.Join(all, ", "))
}

// length parses the "for" at the end.
func (l *lineParser) length(s *Step) (err error) {
	if l.peek() != (token{aWord, wordFor}) {
		return nil
	}
	l.tokens = l.tokens[1:]
	text, err := l.word("a time after for")
	if err != nil {
		return err
	}
	if s.length, err = parseTime(text); err == nil && s.length == 0 {
		err = errors.New("want more than no time")
	}
	if err != nil {
		return fmt.Errorf("for %s: %w", text, err)
	}
	return nil
}

// end wants that nothing is left.
func (l *lineParser) end() error {
	if len(l.tokens) == 0 {
		return nil
	}
	return fmt.Errorf("%v: nothing more is wanted here; hosts have commas between them, and a for comes last", l.peek())
}
