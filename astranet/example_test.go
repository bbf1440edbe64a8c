package astranet_test

import (
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
)

// Two nodes, five lines each, work without any configuration.
func Example() {
	server := astranet.New()
	defer server.Close()
	l, _ := server.Bind("", "greeter")
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello, ", r.URL.Path[1:]) }))
	_ = server.ListenAndServe("tcp", "127.0.0.1:0")

	client := astranet.New()
	defer client.Close()
	_ = client.Join("tcp", server.Addrs()[0].String())
	web := http.Client{Transport: &http.Transport{DialContext: client.HttpDialContext, DisableKeepAlives: true}}
	answer, err := web.Get("http://greeter/world")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(string(text))
	// Output: hello, world
}

// Two programs that have any connection with each other, here a pipe, make a link of it.
func ExampleAstraNet_attach() {
	a, b := astranet.New(), astranet.New()
	defer a.Close()
	defer b.Close()
	here, there := net.Pipe() // or a serial line, or the standard input and output of a command
	go a.Attach(here)
	go b.Attach(there)

	l, _ := a.Bind("", "time")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "noon")
			c.Close()
		}
	}()
	c, err := b.Dial("", "time") // waits for the service, and so for the link
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _ := io.ReadAll(c)
	fmt.Println(string(text))
	// Output: noon
}

// Services of one name in several environments don't meet.
func ExampleAstraNet_environments() {
	staging := astranet.New().WithLoopBack().WithEnv("db", "staging")
	defer staging.Close()
	l, err := staging.Bind("", "users")
	if err != nil {
		fmt.Println(err)
		return
	}
	go l.Accept()
	for _, s := range staging.Services() {
		fmt.Println(s.Service)
	}
	c, err := staging.Dial("", "users")
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close()
	// Output: users.db.staging
}

// With credentials all links are TLS, and the rules know nodes by the names in their certificates.
func ExampleConfig_credentials() {
	mesh, _ := ca.Create("example mesh", ca.Options{}) // in practice made once, by "virtnet ca init"
	node := func(name string) astranet.Config {
		issued, _ := mesh.Issue(name, ca.IssueOptions{})
		creds, _ := ca.New(ca.Material{Cert: issued.CertPEM, Key: issued.KeyPEM, Roots: mesh.RootPEM()})
		return astranet.Config{Credentials: creds}
	}
	cfg := node("vault-1")
	cfg.Rules = &astranet.Rules{List: []astranet.Rule{
		{Allow: true, Do: astranet.BindAction},
		{Allow: true, Do: astranet.DialAction, From: "web-*", Service: "secrets"},
	}}
	vault := cfg.New()
	defer vault.Close()
	l, _ := vault.Bind("", "secrets")
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	_ = vault.ListenAndServe("tcp", "127.0.0.1:0")

	for _, name := range []string{"web-7", "mail-1"} {
		n := node(name).New()
		defer n.Close()
		if err := n.Join("tcp", vault.Addrs()[0].String()); err != nil {
			fmt.Println(err)
			return
		}
		c, err := n.Dial("", "secrets")
		if opErr, ok := err.(*net.OpError); ok {
			nodeErr := opErr.Err.(*astranet.NodeError)
			fmt.Println(name, "to", nodeErr.Node+":", nodeErr.Err)
			continue
		}
		fmt.Println(name, "to", c.RemoteAddr().(*astranet.Addr).Node+": connected")
	}
	// Output:
	// web-7 to vault-1: connected
	// mail-1 to vault-1: permission denied
}
