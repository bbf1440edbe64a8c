package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// runProgram runs a program to its end, and passes on to it what signals this process gets. The error is an *exitError
// with its exit code, unless that is 0, or ctx's cause, if ctx has ended before the program begins.
func runProgram(ctx context.Context, program *exec.Cmd) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, slices.DeleteFunc(slices.Clone(passedOn), signal.Ignored)...) // what is ignored, the program ignores
	defer signal.Stop(signals)
	if ctx.Err() != nil { // what ended it was no signal that came to signals
		return context.Cause(ctx)
	}
	if err := program.Start(); err != nil {
		code := exitCannotRun
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			code = exitNoProgram
		}
		return &exitError{code, err}
	}
	ended := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case s := <-signals:
				if !hasAlready(s) {
					_ = program.Process.Signal(s) // or it has ended
				}
			case <-ended:
				return
			}
		}
	})
	err := program.Wait()
	close(ended)
	passing.Wait()
	if program.ProcessState == nil {
		return err
	}
	if code := exitCode(program.ProcessState); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// exitCode returns the code that shells have for how a program has ended.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignalBase + int(status.Signal())
	}
	return state.ExitCode()
}

// runEnv returns an environment in which programs use the proxy at that address, host:port.
func runEnv(environ []string, network, host, proxy string) []string {
	set := []string{
		"VIRTNET_NETWORK=" + network,
		"VIRTNET_HOST=" + host,
		"VIRTNET_PROXY=" + proxy,
	}
	for _, v := range [][2]string{
		{"http_proxy", "http://" + proxy},
		{"https_proxy", "http://" + proxy}, // how the proxy is spoken to, which then has to CONNECT
		{"all_proxy", "socks5h://" + proxy},
		{"no_proxy", ""},
	} {
		set = append(set, v[0]+"="+v[1], strings.ToUpper(v[0])+"="+v[1])
	}
	env := slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.EqualFold(name, "ftp_proxy") || slices.ContainsFunc(set, func(ours string) bool {
			our, _, _ := strings.Cut(ours, "=")
			return strings.EqualFold(name, our)
		})
	})
	return append(env, set...)
}
