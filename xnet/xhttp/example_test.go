package xhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/virtnet/virtnet/xnet"
	"github.com/virtnet/virtnet/xnet/xhttp"
)

// A web server and its client, over any network.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var n xnet.Networker = xnet.NetPlain("tcp4") // or a host of a virtual network
	defer n.Close()

	l, err := n.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s", r.URL.Path)
	})}
	go xhttp.Serve(ctx, srv, l)
	defer srv.Close()

	client := xhttp.Client(n)
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + l.Addr().String() + "/here")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: hello from /here <nil>
}
