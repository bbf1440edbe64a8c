package virtnettest

import (
	"strings"
	"testing"
)

// Every clause can be told from the others, and says why.
func TestClauses(t *testing.T) {
	seen := make(map[string]bool)
	check := func(name, why string) {
		if name == "" || seen[name] {
			t.Errorf("clause name %q is there twice, or empty", name)
		}
		seen[name] = true
		if why == "" || strings.HasSuffix(why, ".") {
			t.Errorf("clause %s: why = %q, want a phrase that says it", name, why)
		}
	}
	for _, c := range clauses() {
		check(c.name, c.why)
	}
	clear(seen)
	for _, c := range registryClauses {
		check(c.name, c.why)
	}
}
