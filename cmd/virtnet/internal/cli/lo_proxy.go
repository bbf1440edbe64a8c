package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/cmd/virtnet/internal/proxy"
)

func newLoProxy() *cobra.Command {
	var listen string
	var limit int
	var tell tellFlags
	cmd := &cobra.Command{
		Use:   "proxy NET HOST",
		Short: "Let curl, browsers and the like dial on a network",
		Long: `Proxy lives on the network NET as HOST, and dials there for the programs that use it as
their proxy. A network that is not there is made. One port takes all that programs speak:

  HTTP     http://127.0.0.1:1080     plain HTTP is forwarded, CONNECT leads to any port
  SOCKS5   socks5h://127.0.0.1:1080  with names, which is what the "h" is for in curl

Ports are those that these protocols have, from 1 to 65535. A name that is not ASCII may come
as the DNS has it, which is how curl and others send it: http://α/ and http://xn--mxa/ are one
place, unless there is a host of the very name xn--mxa. Nobody asks the DNS: a program that
did, and wants an IP address, is refused. To that, and to all that cannot be reached, HTTP
answers 502, or 504 if nobody accepts within 30 s, and the reason; SOCKS a code.

Whoever can connect to --listen is on the network as HOST. There is no other check: on the
loopback interface every user of this machine can, as on the network itself. It is said once
more if other machines can. --listen is one of

  port, :port  on the loopback interface; port 0 is any that is free
  host:port    on the interface with that address; [::]:port is all of them
  unix:/path   a Unix socket that only you may use; it is removed in the end

Each side of a tunnel may end what it sends and go on receiving; when one is reset, so is the
other. A proxy that is killed resets all connections. A client that says nothing is dropped
after 10 s, and after one if --max are there.

` + networkHelp + `

` + relayHelp,
		Example: `  virtnet lo proxy tea β &
  curl --proxy http://127.0.0.1:1080 http://www/
  curl --proxy socks5h://127.0.0.1:1080 http://www:8000/

  virtnet lo proxy --listen unix:$HOME/tea.sock tea γ &
  curl --proxy socks5h://localhost$HOME/tea.sock http://www/`,
		Args:              exactly("NET", "HOST"),
		ValidArgsFunction: complete(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			local, err := parseLocal(listen)
			if err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			return tell.run(cmd, cmd.OutOrStdout(), func(ctx context.Context, t *teller) error {
				l, err := local.listen(ctx) // it may set the process's umask, so the registry isn't open yet
				if err != nil {
					return err
				}
				defer l.Close()
				return live(ctx, args[0], args[1], func(host *virtnet.Host, network string) error {
					where := addrText(l.Addr())
					t.tell(event{
						Kind: eventReady, Network: network, Host: host.Name(), Listen: where,
						Text: fmt.Sprintf("%s is an HTTP and SOCKS5 proxy to network %s, as host %s", where, network, host.Name()),
					}, true)
					if isOpen(l.Addr()) {
						t.tell(event{
							Kind: eventNote,
							Text: fmt.Sprintf("programs on other machines can connect to %s, and then are on the network", where),
						}, true)
					}
					return newProxy(host, network, limit, &proxyTeller{t: t, loud: true}).Serve(ctx, l)
				})
			})
		},
	}
	cmd.Flags().StringVarP(&listen, "listen", "l", "1080", "listen at this `address`")
	addLimit(cmd, &limit)
	tell.add(cmd, "output")
	return cmd
}

// newProxy returns a proxy that dials from host.
func newProxy(host *virtnet.Host, network string, limit int, to *proxyTeller) *proxy.Proxy {
	return proxy.Config{
		Dial: func(ctx context.Context, net, addr string) (net.Conn, error) {
			c, err := host.DialContext(ctx, net, addr)
			if err != nil {
				return nil, dialHint(err, network)
			}
			return c, nil
		},
		DialTimeout: dialTime,
		MaxConns:    limit,
		Tell:        to.tell,
	}.New()
}

// A proxyTeller tells what happens to a proxy's clients.
type proxyTeller struct {
	t    *teller
	loud bool // people hear of what is refused

	mu      sync.Mutex
	refused string // what was refused last
}

func (p *proxyTeller) tell(e proxy.Event) {
	if e.Kind == proxy.Trouble {
		p.t.tell(event{Kind: eventNote, Text: oneLine(e.Err.Error())}, true)
		return
	}
	told := event{Conn: e.Conn, Protocol: string(e.Protocol), From: addrText(e.From), To: cut(e.To)}
	if e.Err != nil {
		told.Error = oneLine(e.Err.Error())
	}
	if e.Kind != proxy.Refused {
		told.Via, told.Accepted = e.Via.String(), e.Peer.String()
	}
	switch e.Kind {
	case proxy.Opened:
		told.Kind = eventOpen
	case proxy.Ended:
		told.Kind, told.Sent, told.Received = eventEnd, &e.Sent, &e.Received
	case proxy.Refused:
		told.Kind = eventRefused
	}
	p.t.tell(told, p.news(told) && p.loud)
}

// news tells whether people want to hear of an event: of what is refused, but not over and over.
func (p *proxyTeller) news(e event) bool {
	what := e.To
	if what == "" {
		what = e.Error
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Kind == eventRefused && p.refused != what:
		p.refused = what
		return true
	case e.Kind == eventOpen && p.refused == what:
		p.refused = ""
	}
	return false
}

// oneLine returns what strangers may have written in a form that does nothing to a terminal, and not too much of it.
func oneLine(s string) string {
	q := strconv.Quote(cut(s))
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// cut returns what strangers may have written, but not too much of it.
func cut(s string) string {
	const most = 600 // a host name may have 255 bytes, and an error may have two
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
