package netem

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a piece of a line.
type token struct {
	kind tokenKind
	text string
}

type tokenKind uint8

const (
	endOfLine tokenKind = iota
	aWord               // a bare word
	quoted              // a Go string; text is what it says
	aValue              // what follows =
	mark                // , | -> <->
)

// lex cuts a line into its tokens. The comment is not one of them.
func lex(line string) (tokens []token, err error) {
	for {
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			return tokens, nil
		}
		var t token
		switch m := startsMark(line); {
		case m != "":
			t, line = token{mark, m}, line[len(m):]
		case line[0] == '=':
			t, line = lexValue(line[1:])
		case line[0] == '"' || line[0] == '`':
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, errors.New(strings.TrimSpace(line) + ": the quoted name has no end, or is not as in Go")
			}
			text, _ := strconv.Unquote(q)
			t, line = token{quoted, text}, line[len(q):]
		default:
			n := wordLen(line)
			t, line = token{aWord, line[:n]}, line[n:]
		}
		tokens = append(tokens, t)
	}
}

// startsMark returns the mark that line starts with, or "".
func startsMark(line string) string {
	for _, m := range []string{",", "|", "->", "<->"} {
		if strings.HasPrefix(line, m) {
			return m
		}
	}
	return ""
}

// wordLen is how long the word is that line starts with: 1 or more.
func wordLen(line string) int {
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRuneInString(line[i:])
		if i > 0 && (unicode.IsSpace(r) || strings.ContainsRune("=#\"`", r) || startsMark(line[i:]) != "") {
			return i
		}
		i += n
	}
	return len(line)
}

// lexValue takes a value off the line: all until there is space outside of parentheses. Space inside does not count.
func lexValue(line string) (t token, rest string) {
	line = strings.TrimLeftFunc(line, unicode.IsSpace)
	var b strings.Builder
	depth := 0
	for i, r := range line {
		switch {
		case r == '#' || unicode.IsSpace(r) && depth <= 0:
			return token{aValue, b.String()}, line[i:]
		case r == '(':
			depth++
		case r == ')':
			depth--
		}
		if !unicode.IsSpace(r) {
			b.WriteRune(r)
		}
	}
	return token{aValue, b.String()}, ""
}
