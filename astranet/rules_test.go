package astranet_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
)

const ownRules = "permission denied: this node's rules forbid it"

// Rules decide about dials, at both ends, about binds, own and others', and about what lookups show; by the names in certificates.
func TestRules(t *testing.T) {
	rules := func(allow bool, list ...astranet.Rule) *astranet.Rules {
		return &astranet.Rules{List: list, Allow: allow}
	}
	dial := func(allow bool, from, to, service string) astranet.Rule {
		return astranet.Rule{Allow: allow, Do: astranet.DialAction, From: from, To: to, Service: service}
	}
	bind := func(allow bool, from, service string) astranet.Rule {
		return astranet.Rule{Allow: allow, Do: astranet.BindAction, From: from, Service: service}
	}
	const none = "-"
	for _, k := range []struct {
		name           string
		server, client string
		s, c           *astranet.Rules
		bind           string // what Bind says, after "node SERVER"
		byName, byPort string // what dials say, after "node SERVER"
		seen           string // what the client sees
	}{
		{"none", "billing-1", "web-1", nil, nil, "", "", "", "svc"},
		{"allowed", "billing-1", "web-1", rules(true), rules(true), "", "", "", "svc"},
		{"denied by the server", "billing-1", "web-1", rules(false, bind(true, "", "")), nil, "",
			"permission denied: its rules forbid it", "permission denied: its rules forbid it", "svc"},
		{"denied by the client", "billing-1", "web-1", nil, rules(false, bind(true, "", "")), "", ownRules, ownRules, ""},
		{"bind denied", "billing-1", "web-1", rules(false), nil, `permission denied: this node's rules forbid to bind "svc"`, none, none, ""},
		{"the other may not bind it", "billing-1", "web-1", nil, rules(true, bind(true, "web-*", "svc"), bind(false, "", "s?c")), "",
			"no such service", "", ""},
		{"from a pattern", "billing-1", "web-1", rules(false, bind(true, "", ""), dial(true, "web-?", "billing-*", "s*")), nil, "", "", "", "svc"},
		{"from another pattern", "billing-1", "web-1", rules(false, bind(true, "", ""), dial(true, "mail-?", "", "")), nil, "",
			"permission denied: its rules forbid it", "permission denied: its rules forbid it", "svc"},
		{"the first that fits", "billing-1", "web-1", nil, rules(true, dial(true, "", "", "svc"), dial(false, "", "", "")), "", "", "", "svc"},
		{"to a pattern", "billing-1", "web-1", nil, rules(true, dial(false, "", "billing-*", "")), "", ownRules, ownRules, ""},
		{"stars and slashes", "spiffe://mesh/prod/db", "web-1", nil, rules(false, bind(true, "", ""), dial(true, "", "spiffe://mesh/*/db", "")), "", "", "", "svc"},
		{"a star is no slash", "spiffe://mesh/prod/db", "web-1", nil, rules(false, bind(true, "", ""), dial(true, "", "spiffe://*", "")), "", ownRules, ownRules, ""},
		{"nobody has no name", "", "", rules(false, bind(true, "", ""), dial(true, "?*", "", "")), nil, "",
			"permission denied: its rules forbid it", "permission denied: its rules forbid it", "svc"},
		{"everybody", "", "", rules(false, bind(true, "", ""), dial(true, "*", "*", "*")), nil, "", "", "", "svc"},
	} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mesh := authority(t) // of the bubble's time
				creds := func(name string) *ca.Credentials {
					if name == "" {
						return nil
					}
					return credentials(t, mesh, name, ca.IssueOptions{})
				}
				w := &two{T: t, serves: make(chan struct{}, 2),
					s: astranet.Config{ID: 1, Rules: k.s, Credentials: creds(k.server)}.New(),
					c: astranet.Config{ID: 2, Rules: k.c, Credentials: creds(k.client)}.New(),
				}
				defer w.s.Close()
				defer w.c.Close()
				w.link()
				node := "node " + astranet.HostName(1) + ": "
				if k.server != "" {
					node = "node " + k.server + " (" + astranet.HostName(1) + "): "
				}
				l, err := w.s.Bind("", "svc:70")
				if k.bind != "" {
					wantCause(t, err, "listen", node+k.bind)
					if !errors.Is(err, astranet.ErrDenied) || !errors.Is(err, fs.ErrPermission) {
						t.Error(err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				acceptAll(l)
				synctest.Wait()
				if got := shown(w.c.Services()); got != k.seen {
					t.Errorf("the client sees %q, want %q", got, k.seen)
				}
				for hp, want := range map[string]string{"svc": k.byName, astranet.HostName(1) + ":70": k.byPort} {
					_, err := w.c.Dial("", hp)
					switch {
					case want == "":
						if err != nil {
							t.Errorf("%s: %v", hp, err)
						}
					case want == "no such service":
						if !errors.Is(err, astranet.ErrNoService) {
							t.Errorf("%s: %v", hp, err)
						}
					default:
						wantCause(t, err, "dial", node+want)
						if !errors.Is(err, astranet.ErrDenied) {
							t.Errorf("%s: %v", hp, err)
						}
					}
				}
			})
		})
	}
}

// The addresses of connections have the names in the certificates.
func TestNamesInAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mesh := authority(t)
		node := func(name string) astranet.AstraNet {
			return astranet.Config{Credentials: credentials(t, mesh, name, ca.IssueOptions{})}.New()
		}
		w := &two{T: t, s: node("s.example"), c: node("spiffe://mesh/c"), serves: make(chan struct{}, 2)}
		defer w.s.Close()
		defer w.c.Close()
		w.link()
		c, s := w.pair()
		for _, end := range []struct {
			net.Conn
			local, remote string
		}{{c, "spiffe://mesh/c", "s.example"}, {s, "s.example", "spiffe://mesh/c"}} {
			local, remote := end.LocalAddr().(*astranet.Addr).Node, end.RemoteAddr().(*astranet.Addr).Node
			if local != end.local || remote != end.remote {
				t.Errorf("got %q and %q, want %q and %q", local, remote, end.local, end.remote)
			}
		}
		if r := w.c.Routes(); r[0].Node != "s.example" || r[0].Service != "s.example" {
			t.Errorf("got %+v", r)
		}
	})
}

// Rules are plain data.
func TestRulesText(t *testing.T) {
	var r astranet.Rules
	text := `{"List":[{"Allow":true,"Do":"dial","From":"web-*","To":"db","Service":"sql"},{"Allow":false,"Do":"bind","From":"","To":"","Service":"sql"},` +
		`{"Allow":true,"Do":"","From":"x","To":"","Service":""}],"Allow":false}`
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	want := astranet.Rules{List: []astranet.Rule{
		{Allow: true, Do: astranet.DialAction, From: "web-*", To: "db", Service: "sql"},
		{Do: astranet.BindAction, Service: "sql"},
		{Allow: true, From: "x"},
	}}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v", r)
	}
	if b, err := json.Marshal(want); string(b) != text || err != nil {
		t.Errorf("got %s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"List":[{"Do":"fly"}]}`), &r); err == nil || err.Error() != `astranet: there is no action "fly", but dial and bind` {
		t.Errorf("got %v", err)
	}
}

// What a node's rules forbid is forgotten with the link, too.
func TestDeniedAndGone(t *testing.T) {
	no := astranet.Config{Rules: &astranet.Rules{List: []astranet.Rule{{Do: astranet.DialAction, Service: "svc"}}, Allow: true}}
	inBubble(t, astranet.Config{}, no, func(w *two) {
		w.bind(w.s, "svc")
		_, err := w.c.Dial("", "svc")
		wantCause(w, err, "dial", "node "+astranet.HostName(w.s.ID())+": "+ownRules)
		w.cut()
		synctest.Wait()
		if _, err = w.c.Dial("", "svc"); !errors.Is(err, astranet.ErrNoService) {
			w.Error(err)
		}
	})
}
