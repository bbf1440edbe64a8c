package punycode

import (
	"strings"
	"testing"
)

// TestBothWays has, among others, samples of RFC 3492, section 7.1.
func TestBothWays(t *testing.T) {
	for _, tt := range []struct{ unicode, ascii string }{
		{"α", "xn--mxa"},
		{"β", "xn--nxa"},
		{"αβγ", "xn--mxacd"},
		{"node-α", "xn--node--h9d"},
		{"münchen.example", "xn--mnchen-3ya.example"},
		{"www.ελλάδα.gr", "www.xn--hxakic4aa.gr"},
		{"😀", "xn--e28h"},
		{"ليهمابتكلموشعربي؟", "xn--egbpdaj6bu4bxfgehfvwxn"},
		{"他们为什么不说中文", "xn--ihqwcrb4cv8a8dqg056pqjye"},
		{"почемужеонинеговорятпорусски", "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l"},
		{"3年b組金八先生", "xn--3b-ww4c5e180e575a65lsy2b"},
		{"plain", "plain"},
		{"a..b", "a..b"},
		{"", ""},
	} {
		if got := ToASCII(tt.unicode); got != tt.ascii {
			t.Errorf("ToASCII(%q) = %q, want %q", tt.unicode, got, tt.ascii)
		}
		if got := ToUnicode(tt.ascii); got != tt.unicode {
			t.Errorf("ToUnicode(%q) = %q, want %q", tt.ascii, got, tt.unicode)
		}
	}
}

func TestCase(t *testing.T) {
	if got, want := ToASCII("Α"), "xn--mxa"; got != want {
		t.Errorf("ToASCII(capital alpha) = %q, want %q", got, want)
	}
	if got, want := ToASCII("\u212a"), "k"; got != want {
		t.Errorf("ToASCII(Kelvin sign) = %q, want %q", got, want)
	}
	if got, want := ToUnicode("XN--MXA.Example"), "α.Example"; got != want {
		t.Errorf("ToUnicode = %q, want %q", got, want)
	}
}

// TestLeftAlone has what is not an encoding.
func TestLeftAlone(t *testing.T) {
	for _, s := range []string{
		"xn--",
		"xn---",
		"xn--abc-",     // ASCII only
		"xn--mx",       // ends within a number
		"xn--m!a",      // not a digit
		"xn--αa",       // not ASCII
		"xn--99999999", // a number without end
		"xn--z999999a", // past the last code point
		"xn--ib9b",     // a surrogate
		"xn--" + strings.Repeat("a", maxLabel),
	} {
		if got := ToUnicode(s); got != s {
			t.Errorf("ToUnicode(%.20q) = %.20q, want it left as it is", s, got)
		}
	}
	for _, s := range []string{"\xff", "Xn--00\u0130", strings.Repeat("α", maxLabel)} { // the second is ASCII in small letters
		if got := ToASCII(s); got != s {
			t.Errorf("ToASCII(%.20q) = %.20q, want it left as it is", s, got)
		}
	}
}

// FuzzPunycode checks that what decodes encodes to the same, and what encodes decodes to the same, but for case.
func FuzzPunycode(f *testing.F) {
	for _, s := range []string{"xn--mxa", "α", "xn--mnchen-3ya.example", "xn--99999999", "xn--node--h9d", "xn---"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var ascii, unicode []string
		for label := range strings.SplitSeq(s, ".") {
			a, u := ToASCII(label), ToUnicode(label)
			ascii, unicode = append(ascii, a), append(unicode, u)
			// Who encodes makes letters small, and leaves what is too long: what decodes to others is nobody's encoding.
			if u != label && u == strings.ToLower(u) && len(u) <= maxLabel {
				if got := ToASCII(u); !strings.EqualFold(got, label) {
					t.Errorf("%q decodes to %q, which encodes to %q", label, u, got)
				}
			}
			if a != label && len(a) <= maxLabel {
				if got := ToUnicode(a); got != strings.ToLower(label) {
					t.Errorf("%q encodes to %q, which decodes to %q", label, a, got)
				}
			}
		}
		if got, want := ToASCII(s), strings.Join(ascii, "."); got != want {
			t.Errorf("%q encodes to %q, its labels to %q", s, got, want)
		}
		if got, want := ToUnicode(s), strings.Join(unicode, "."); got != want {
			t.Errorf("%q decodes to %q, its labels to %q", s, got, want)
		}
	})
}
