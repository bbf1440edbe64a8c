package lonet

import (
	"testing"
	"testing/synctest"
	"time"
)

// A fault that comes and goes begins once, and is over once.
func TestFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fault
		want := func(what string, got, want bool) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		want("over, without a fault", f.over(), false)
		for range 2 {
			want("it begins", f.begins(), true)
			for range 5 {
				time.Sleep(calm / 2)
				want("it is over for a moment", f.over(), false)
				want("it begins again", f.begins(), false)
			}
			time.Sleep(calm)
			want("it is over", f.over(), true)
			want("it is over again", f.over(), false)
		}
	})
}
