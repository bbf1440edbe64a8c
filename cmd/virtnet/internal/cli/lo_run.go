package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/cmd/virtnet/internal/proxy"
	"github.com/virtnet/virtnet/xnet"
)

// The codes that run exits with when it is not the program's, as shells and env(1) have them.
const (
	exitRun        = 125 // the network could not be joined, or the like
	exitCannotRun  = 126 // there is such a program, but it cannot be executed
	exitNoProgram  = 127
	exitSignalBase = 128
)

// lastWords is how long what the program has sent, or was sent, may take to get through after its end.
const lastWords = 2 * time.Second

func newLoRun() *cobra.Command {
	var exposed []string
	var limit int
	var tell tellFlags
	cmd := &cobra.Command{
		Use:   "run NET HOST [flags] -- COMMAND [ARG]...",
		Short: "Run a program that lives on a network as a host",
		Long: `Run starts COMMAND so that it lives on the network NET as HOST for as long as it runs. A
network that is not there is made.

What the program dials goes to the network, if it uses a proxy when the environment says
so, as curl, git, python and most HTTP clients do. Run has a proxy for it, as that of
"virtnet lo proxy", at a port of the loopback interface, and sets these:

  http_proxy, https_proxy   http://127.0.0.1:PORT, for HTTP and CONNECT
  all_proxy                 socks5h://127.0.0.1:PORT, for everything else
  no_proxy                  empty: nothing is dialled past the network, localhost neither
  VIRTNET_PROXY             127.0.0.1:PORT
  VIRTNET_NETWORK           NET
  VIRTNET_HOST              HOST

and the first four in upper case, too. While the program runs, every user of this machine can
use the proxy, as they can dial on the network itself.

What the program serves is on the network with --expose PORT=TARGET: connections to HOST:PORT
are led to TARGET, as "virtnet lo expose" does it, such as 80=:8000 for a server at port 8000
of the loopback interface, or 80=unix:/path.

Standard input, output and error are the program's own. Run says nothing there but that an
exposed port leads nowhere, unless with -v or --json. SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1
and SIGUSR2 are passed on to the program, but not what a terminal's keys send, which it gets
anyway. When it has ended, what it has sent may take two seconds more to get through;
connections that are left then, as those of children of its, are reset.

` + networkHelp + `

It exits with the program's exit code; with 128 and the number of the signal, if one has killed
it; with 127 if there is no such program and 126 if it cannot be executed; with 125 if the
program could not be started because of the network, and with 2 if run is not understood. A
run that is killed leaves the program, without its proxy.`,
		Example: `  virtnet lo run tea β -- curl http://www/
  virtnet lo run tea β -- git clone http://www/project.git
  virtnet lo run tea www --expose 80=:8000 -- python3 -m http.server --bind 127.0.0.1 8000
  virtnet lo run tea γ -- sh -c 'curl --proxy socks5h://$VIRTNET_PROXY http://www:8000/'`,
		Args:              runArgs,
		ValidArgsFunction: completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			ports, err := parseAllExposed(exposed)
			if err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			program := exec.Command(args[2], args[3:]...)
			program.Stdin, program.Stdout, program.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return ofRun(tell.run(cmd, cmd.ErrOrStderr(), func(ctx context.Context, t *teller) error {
				return live(ctx, args[0], args[1], func(host *virtnet.Host, network string) error {
					r := &runner{host: host, network: network, limit: limit, tell: t}
					return r.run(ctx, ports, program)
				})
			}))
		},
	}
	cmd.Flags().StringArrayVar(&exposed, "expose", nil, "lead connections to `PORT=TARGET` of HOST; may be given several times")
	addLimit(cmd, &limit)
	tell.add(cmd, "error")
	return cmd
}

// completeRun completes the network, and leaves the program and what it takes to the shell.
func completeRun(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) >= 2 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return complete(0)(cmd, args, begun)
}

// runArgs checks the arguments of run.
func runArgs(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	before := args
	if dash >= 0 {
		before = args[:dash]
	}
	if len(before) > 2 && dash < 0 {
		return &usageError{fmt.Errorf("unexpected argument %q: the program comes after --", before[2])}
	}
	if err := exactly("NET", "HOST")(cmd, before); err != nil {
		return err
	}
	if len(args) == 2 {
		return &usageError{errors.New("COMMAND is missing: it comes after --, as in \"virtnet lo run tea β -- curl http://www/\"")}
	}
	return nil
}

// ofRun returns an error of run so that its exit code is none that is the program's.
func ofRun(err error) error {
	_, exit := errors.AsType[*exitError](err)
	_, usage := errors.AsType[*usageError](err)
	if err == nil || exit || usage || errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		return err
	}
	return &exitError{exitRun, err}
}

// An exposedPort is where the connections to a virtual port are led.
type exposedPort struct {
	port   string
	target localAddr
}

// parseAllExposed parses what is to be exposed, each port once. The error is a usage error.
func parseAllExposed(args []string) ([]exposedPort, error) {
	ports := make([]exposedPort, len(args))
	for i, arg := range args {
		p, err := parseExposed(arg)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(ports[:i], func(o exposedPort) bool { return o.port == p.port }) {
			return nil, &usageError{fmt.Errorf("--expose %s: port %s is exposed already", arg, p.port)}
		}
		ports[i] = p
	}
	return ports, nil
}

// parseExposed parses "PORT=TARGET". The error is a usage error.
func parseExposed(arg string) (exposedPort, error) {
	port, target, ok := strings.Cut(arg, "=")
	if !ok {
		return exposedPort{}, &usageError{fmt.Errorf("--expose %s: it is PORT=TARGET, such as 80=:8000", arg)}
	}
	if a, err := virtnet.ParseAddr("", ":"+port); err != nil || a.Port == 0 {
		return exposedPort{}, &usageError{fmt.Errorf("--expose %s: invalid port %q: it is one from 1 to 2147483647", arg, port)}
	}
	to, err := parseTarget(target)
	return exposedPort{port, to}, err
}

// A runner runs a program on a network.
type runner struct {
	host    *virtnet.Host
	network string // by which it is joined
	limit   int
	tell    *teller

	served tally // connections to what is exposed
}

// run runs the program. The error is an *exitError with the program's exit code, unless that is 0, or what has kept the
// program from being started.
func (r *runner) run(ctx context.Context, ports []exposedPort, program *exec.Cmd) error {
	// What ends this process in good order is passed on to the program, and that ends this.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var servers sync.WaitGroup
	defer servers.Wait()
	defer stop()
	for _, e := range ports {
		relay, err := r.expose(ctx, e)
		if err != nil {
			return err
		}
		servers.Go(func() { r.serve("exposed port "+e.port, relay.run(serving)) })
	}
	l, err := localAddr{network: "tcp", port: "0"}.listen(ctx)
	if err != nil {
		return err
	}
	p := newProxy(r.host, r.network, r.limit, &proxyTeller{t: r.tell})
	servers.Go(func() { r.serve("proxy", p.Serve(serving, l)) })

	where := addrText(l.Addr())
	r.tell.tell(event{
		Kind: eventReady, Network: r.network, Host: r.host.Name(), Listen: where,
		Text: fmt.Sprintf("the program's proxy to network %s, as host %s, is %s", r.network, r.host.Name(), where),
	}, false)
	program.Env = runEnv(program.Environ(), r.network, r.host.Name(), where)
	err = runProgram(ctx, program)
	r.tell.hurry()
	r.wait(p)
	return err
}

// serve notes that a server has ended.
func (r *runner) serve(what string, err error) {
	if err != nil {
		r.tell.tell(event{Kind: eventNote, Text: what + ": " + err.Error()}, true)
	}
}

// expose returns the relay for an exposed port.
func (r *runner) expose(ctx context.Context, e exposedPort) (*relay, error) {
	l, err := r.host.Listen(ctx, ":"+e.port)
	if err != nil {
		return nil, err
	}
	r.tell.tell(event{
		Kind: eventReady, Network: r.network, Host: r.host.Name(), Listen: l.Addr().String(), Target: e.target.String(),
		Text: fmt.Sprintf("%s on network %s leads to %s", l.Addr(), r.network, e.target),
	}, false)
	return &relay{accept: r.counted(l), dial: e.target.dial, to: e.target.String(), max: r.limit, tell: r.tell}, nil
}

// counted returns l's Accept, such that r.served has the connections that are not closed.
func (r *runner) counted(l xnet.Listener) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		c, err := l.Accept(ctx)
		if err != nil {
			return nil, err
		}
		r.served.add()
		return &countedConn{Conn: c.(*virtnet.Conn), closed: sync.OnceFunc(r.served.done)}, nil
	}
}

// wait waits until the program's connections have ended, but not for long.
func (r *runner) wait(p *proxy.Proxy) {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	p.Quiet(ctx)
	r.served.wait(ctx)
}
