//go:build unix

package cli

import "syscall"

// noTerminal gives a process a session of its own, which has no terminal.
func noTerminal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
