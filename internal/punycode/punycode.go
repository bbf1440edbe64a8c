// Package punycode turns host names into the ASCII form that DNS, certificates and net/http have for them,
// and back: "α" is "xn--mxa".
//
// It is RFC 3492 and no more: nothing is normalised or forbidden, because a virtual network has its own rule
// for names.
package punycode

import (
	"math"
	"strings"
	"unicode/utf8"
)

// The parameters of RFC 3492, section 5.
const (
	base        = 36
	tmin        = 1
	tmax        = 26
	skew        = 38
	damp        = 700
	initialBias = 72
	initialN    = 0x80
)

// prefix marks an encoded label.
const prefix = "xn--"

// maxLabel is the length of label, in bytes, above which it is left as it is: both directions take time
// quadratic in it. No valid name of a host comes near.
const maxLabel = 1024

// ToASCII returns host with its labels that are not ASCII encoded, in lower case, as names are compared in
// certificates. Labels that cannot be encoded are left as they are.
func ToASCII(host string) string {
	return mapLabels(host, func(label string) (string, bool) {
		if isASCII(label) || !utf8.ValidString(label) {
			return "", false
		}
		label = strings.ToLower(label)
		if isASCII(label) { // a Kelvin sign, for one, is a k now
			return label, !strings.HasPrefix(label, prefix) // it would be taken for the encoding of another
		}
		return encode([]rune(label)), true
	})
}

// ToUnicode returns host with its encoded labels decoded. Labels that are not the encoding of something are
// left as they are.
func ToUnicode(host string) string {
	return mapLabels(host, func(label string) (string, bool) {
		if len(label) < len(prefix) || !strings.EqualFold(label[:len(prefix)], prefix) {
			return "", false
		}
		return decode(label[len(prefix):])
	})
}

// mapLabels replaces the labels of host for which f has a replacement.
func mapLabels(host string, f func(label string) (string, bool)) string {
	labels := strings.Split(host, ".")
	for i, label := range labels {
		if len(label) > maxLabel {
			continue
		}
		if r, ok := f(label); ok {
			labels[i] = r
		}
	}
	return strings.Join(labels, ".")
}

// encode is section 6.3. Integers cannot overflow: maxLabel runes times the highest rune is less than 1<<31.
func encode(label []rune) string {
	out := []byte(prefix)
	for _, r := range label {
		if r < initialN {
			out = append(out, byte(r))
		}
	}
	basic := len(out) - len(prefix)
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(initialN), 0, initialBias
	for done := basic; done < len(label); {
		next := rune(math.MaxInt32)
		for _, r := range label {
			if r >= n {
				next = min(next, r)
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range label {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			out = appendDelta(out, delta, bias)
			bias = adapt(delta, done+1, done == basic)
			delta = 0
			done++
		}
		delta++
		n++
	}
	return string(out)
}

func appendDelta(out []byte, delta, bias int) []byte {
	for k := base; ; k += base {
		t := threshold(k, bias)
		if delta < t {
			return append(out, digit(delta))
		}
		out = append(out, digit(t+(delta-t)%(base-t)))
		delta = (delta - t) / (base - t)
	}
}

// decode is section 6.2, for a label without its prefix.
func decode(s string) (string, bool) {
	if !isASCII(s) {
		return "", false
	}
	var label []rune
	if i := strings.LastIndexByte(s, '-'); i > 0 {
		label = []rune(s[:i])
		s = s[i+1:]
	}
	if s == "" {
		return "", false // it is ASCII only, and nobody encodes that
	}
	basic := len(label)
	n, pos, bias := initialN, 0, initialBias
	for s != "" {
		delta, rest, ok := cutDelta(s, bias)
		if !ok {
			return "", false
		}
		s = rest
		size := len(label) + 1
		bias = adapt(delta, size, len(label) == basic)
		pos += delta
		n += pos / size
		pos %= size
		if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
			return "", false
		}
		label = append(label, 0)
		copy(label[pos+1:], label[pos:])
		label[pos] = rune(n)
		pos++
	}
	return string(label), true
}

// cutDelta reads a variable-length integer (section 3.3). It fails before the integer could overflow 32 bits.
func cutDelta(s string, bias int) (delta int, rest string, ok bool) {
	weight := int64(1)
	sum := int64(0)
	for i, k := 0, base; i < len(s); i, k = i+1, k+base {
		d, ok := digitValue(s[i])
		if !ok {
			return 0, "", false
		}
		sum += int64(d) * weight
		if sum > math.MaxInt32-maxLabel {
			return 0, "", false
		}
		t := threshold(k, bias)
		if d < t {
			return int(sum), s[i+1:], true
		}
		weight *= int64(base - t)
		if weight > math.MaxInt32*base { // a last digit of 0 may have that much
			return 0, "", false
		}
	}
	return 0, "", false
}

func threshold(k, bias int) int { return min(max(k-bias, tmin), tmax) }

// adapt is section 6.1.
func adapt(delta, points int, first bool) int {
	if first {
		delta /= damp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for delta > (base-tmin)*tmax/2 {
		delta /= base - tmin
		k += base
	}
	return k + (base-tmin+1)*delta/(delta+skew)
}

func digit(d int) byte {
	return "abcdefghijklmnopqrstuvwxyz0123456789"[d]
}

func digitValue(c byte) (int, bool) {
	switch {
	case 'a' <= c && c <= 'z':
		return int(c - 'a'), true
	case 'A' <= c && c <= 'Z':
		return int(c - 'A'), true
	case '0' <= c && c <= '9':
		return int(c-'0') + 26, true
	}
	return 0, false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
