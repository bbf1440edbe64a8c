// Muxbench measures our mux beside other multiplexers and TCP itself.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/virtnet/virtnet/bench/internal/cases"
	"github.com/virtnet/virtnet/bench/internal/peer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "muxbench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	plan
	check   bool
	json    bool
	measure string // "CASE PEER": this is a process for that measurement alone
	profile string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.measure != "" {
		return child(o, stdout)
	}
	ms, err := o.plan.run(ctx, processes{o.plan.time, o.profile}, stderr)
	if err != nil {
		return err
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "\t")
		err = enc.Encode(report(o.plan, ms))
	} else {
		err = writeTables(stdout, o.plan, ms)
	}
	if o.check && err == nil {
		err = anyFailed(ms)
	}
	return err
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var peers, names string
	f := flag.NewFlagSet("muxbench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&peers, "peers", "all", "who is measured, separated by commas; all are those without a *: "+peerNames())
	f.StringVar(&names, "cases", "", "what is measured, separated by commas; \"list\" shows all; unless given, those without a *")
	f.IntVar(&o.runs, "runs", 5, "how often everything is measured")
	f.DurationVar(&o.time, "time", 700*time.Millisecond, "how long a measurement takes, preparations aside")
	f.BoolVar(&o.check, "check", false, "check instead that bytes arrive as they were sent")
	f.BoolVar(&o.json, "json", false, "print all measurements and their summary as JSON")
	f.StringVar(&o.profile, "cpuprofile", "", "a directory for a processor profile of each measurement")
	f.StringVar(&o.measure, "measure", "", "for muxbench itself: \"CASE PEER\" to measure in this process")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("argument %q is not known: see -help", f.Arg(0))
	}
	if o.runs < 1 || o.time <= 0 {
		return o, errors.New("-runs and -time must be more than 0")
	}
	if o.check && names == "" {
		names, o.runs = "check,tls-check", 1
	}
	if names == "list" {
		return o, errors.New("the cases are:\n" + caseList())
	}
	if err := o.choosePeers(peers); err != nil {
		return o, err
	}
	return o, o.chooseCases(names)
}

func (p *plan) choosePeers(names string) error {
	if names == "all" {
		p.peers = slices.DeleteFunc(slices.Clone(peer.All), func(p peer.Peer) bool { return p.Extra })
		return nil
	}
	for name := range strings.SplitSeq(names, ",") {
		c, err := peer.ByName(name)
		if err != nil {
			return err
		}
		p.peers = append(p.peers, c)
	}
	return nil
}

func (p *plan) chooseCases(names string) error {
	if names == "" {
		for _, c := range cases.All {
			if !c.Extra {
				p.cases = append(p.cases, c)
			}
		}
		return nil
	}
	for name := range strings.SplitSeq(names, ",") {
		c, err := cases.ByName(name)
		if err != nil {
			return err
		}
		p.cases = append(p.cases, c)
	}
	return nil
}

func peerNames() string {
	var names []string
	for _, p := range peer.All {
		name := p.Name
		if p.Extra {
			name += "*"
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

func caseList() string {
	var b strings.Builder
	for _, c := range cases.All {
		name := c.Name
		if c.Extra {
			name += "*"
		}
		fmt.Fprintf(&b, "  %-12s %s\n", name, c.Doc)
	}
	return b.String()
}
