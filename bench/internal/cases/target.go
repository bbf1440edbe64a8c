package cases

import (
	"strconv"
	"strings"
)

// A Target is what a figure should come to: "1.0" is at least that, "<2.0" at most, "" nothing.
type Target string

func (t Target) String() string {
	switch most, ok := strings.CutPrefix(string(t), "<"); {
	case t == "":
		return ""
	case ok:
		return "at most " + most
	}
	return "at least " + string(t)
}

// Met tells whether v is what it should be.
func (t Target) Met(v float64) bool {
	if t == "" {
		return true
	}
	most, ok := strings.CutPrefix(string(t), "<")
	bound, err := strconv.ParseFloat(most, 64)
	if err != nil {
		return false
	}
	if ok {
		return v <= bound
	}
	return v >= bound
}
