package cases

import "testing"

func TestTarget(t *testing.T) {
	for _, test := range []struct {
		target   Target
		v        float64
		text     string
		wantsMet bool
	}{
		{"", 0, "", true},
		{"1.0", 1, "at least 1.0", true},
		{"1.0", 0.99, "at least 1.0", false},
		{"<2.0", 2, "at most 2.0", true},
		{"<2.0", 2.01, "at most 2.0", false},
		{"much", 5, "at least much", false},
	} {
		if got := test.target.String(); got != test.text {
			t.Errorf("%q: text %q, want %q", string(test.target), got, test.text)
		}
		if got := test.target.Met(test.v); got != test.wantsMet {
			t.Errorf("%q is met by %v: %v, want %v", string(test.target), test.v, got, test.wantsMet)
		}
	}
}
