package astranet_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/virtnet/virtnet/astranet"
)

// When Join returns the services of the other end are known, and what this node's rules say of them.
func TestJoinKnowsServices(t *testing.T) {
	s, address := listening(t, astranet.Config{})
	open, err := s.Bind("", "open")
	if err != nil {
		t.Fatal(err)
	}
	go open.Accept()
	secret, err := s.Bind("", "secrets:70")
	if err != nil {
		t.Fatal(err)
	}
	go secret.Accept()
	for range 50 {
		c := newNode(t, astranet.Config{Rules: &astranet.Rules{Allow: true, List: []astranet.Rule{{Do: astranet.DialAction, Service: "secrets"}}}})
		if err := c.Join("tcp", address); err != nil {
			t.Fatal(err)
		}
		if got := c.Services(); len(got) != 1 || got[0].Service != "open" {
			t.Fatalf("services %v, want the one that may be dialled", got)
		}
		for _, hp := range []string{"secrets", astranet.HostName(s.ID()) + ":70"} {
			if _, err := c.Dial("", hp); !errors.Is(err, fs.ErrPermission) {
				t.Fatalf("dial %s: %v, want denied", hp, err)
			}
		}
		c.Close()
	}
}
