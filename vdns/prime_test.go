package vdns_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/vdns"
)

// orderEnv has where a process of its own makes its lookups, in their order: 1 and 2 are in bubbles, a new one each, and o
// is outside.
const orderEnv = "VIRTNET_TEST_LOOKUPS"

// TestOrder makes lookups in two bubbles and outside, every order in a process that has made none before. What package
// net makes at the first one stays for the process, and must not be one bubble's.
func TestOrder(t *testing.T) {
	if order := os.Getenv(orderEnv); order != "" {
		for _, where := range order {
			if where == '1' || where == '2' {
				synctest.Test(t, func(t *testing.T) { lookUp(t) })
			} else {
				lookUp(t)
			}
		}
		return
	}
	needsDNS(t) // not in the process whose first lookup matters
	for _, order := range []string{"12o", "1o2", "o12", "21o", "2o1", "o21", "1o1o2o", "oo1122"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOrder$", "-test.count=1", "-test.timeout=30s")
			cmd.Env = append(os.Environ(), orderEnv+"="+order)
			if out, err := cmd.CombinedOutput(); err != nil {
				text := string(out)
				t.Errorf("%v\n%s", err, text[:min(len(text), 2000)])
			}
		})
	}
}

// lookUp makes some lookups that use all that there is.
func lookUp(t *testing.T) {
	n := pipenet.New("t")
	defer n.Close()
	n.Host("xn--mxa")
	r := vdns.Resolver(n.Host("beta"))
	for i := range 3 {
		if _, err := r.LookupHost(t.Context(), "beta"); err != nil {
			t.Error(err)
		}
		if _, err := r.LookupNetIP(t.Context(), "ip", "xn--mxa"); err != nil {
			t.Error(err)
		}
		if _, err := r.LookupNetIP(t.Context(), "ip", fmt.Sprintf("no%d", i)); !notFound(err) {
			t.Errorf("error %v, want it not found", err)
		}
		if _, err := r.LookupAddr(t.Context(), "fd76:6265:7461::"); err != nil {
			t.Error(err)
		}
	}
	// And one of nobody's, with its own state.
	other := &net.Resolver{PreferGo: true, Dial: r.Dial}
	if got, err := other.LookupHost(t.Context(), "beta"); err != nil || strings.Join(got, "") != "fd76:6265:7461::" {
		t.Errorf("another resolver: %v, %v", got, err)
	}
}
