package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet"
)

func newLoDial() *cobra.Command {
	var as string
	var wait time.Duration
	var tell tellFlags
	cmd := &cobra.Command{
		Use:   "dial NET HOST:PORT",
		Short: "Dial an address, on standard input and output",
		Long: `Dial connects to HOST:PORT on the network NET, sends what comes on standard input, and
writes what it receives to standard output, byte for byte, as netcat does. It waits until
the connection is accepted.

` + talkHelp + `

It lives on the network while it runs, under a name of its own, or that of --as.

` + networkHelp + `

It exits with 0 when both sides have ended in good order, with 1 when it could not connect,
the connection was reset or the output could not be written, and with 130 when it was
interrupted.`,
		Example: `  virtnet lo dial tea α:1
  virtnet lo dial --wait 5s tea α:1 < original > answer
  printf 'GET / HTTP/1.0\r\n\r\n' | virtnet lo dial --as β tea www:80`,
		Args:              exactly("NET", "HOST:PORT"),
		ValidArgsFunction: complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := parseRemote(args[1])
			if err != nil {
				return err
			}
			if wait < 0 {
				return &usageError{fmt.Errorf("--wait %v: a time is not negative", wait)}
			}
			if wait == 0 { // there is no need to make a network that nobody listens on
				if _, err := listNetwork(cmd.Context(), args[0]); errors.Is(err, fs.ErrNotExist) {
					return noNetwork(args[0])
				}
			}
			return tell.run(cmd, cmd.ErrOrStderr(), func(ctx context.Context, t *teller) error {
				dial := func(host *virtnet.Host, network string) error {
					c, err := dialPatiently(ctx, host, addr.String(), wait)
					if err != nil {
						return dialHint(err, network)
					}
					k := &talk{tell: t, in: cmd.InOrStdin(), out: cmd.OutOrStdout()}
					return k.with(ctx, c, true)
				}
				if as != "" {
					return live(ctx, args[0], as, dial)
				}
				name := fmt.Sprintf("dial-%d", os.Getpid()) // as people find it in "lo ls"
				err := live(ctx, args[0], name, dial)
				if errors.Is(err, virtnet.ErrHostDup) { // in another PID namespace, maybe
					err = live(ctx, args[0], name+"-"+strings.ToLower(rand.Text()[:8]), dial)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "live on the network as `HOST`")
	cmd.Flags().DurationVarP(&wait, "wait", "w", 0, "try again for this `time` while nobody listens there")
	tell.add(cmd, "error")
	return cmd
}

// dialPatiently dials, and tries again for that time while there is no such host, or nobody listens.
func dialPatiently(ctx context.Context, host *virtnet.Host, addr string, wait time.Duration) (net.Conn, error) {
	deadline := time.Now().Add(wait)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		c, err := host.Dial(ctx, addr)
		absent := errors.Is(err, virtnet.ErrNoHost) || errors.Is(err, virtnet.ErrConnRefused)
		if !absent || time.Now().Add(pause).After(deadline) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
