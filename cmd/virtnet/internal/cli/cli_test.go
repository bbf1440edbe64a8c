package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestMain makes the test binary the command when its arguments are the command's, so that the demo starts its
// processes, and tests start the command, as users do.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// run runs the command in this process.
func run(args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args   string
		code   int
		stdout string // what it begins with
		stderr string
	}{
		{"", exitOK, "Virtnet shows virtual", ""},
		{"--help", exitOK, "Virtnet shows virtual", ""},
		{"help lo", exitOK, "Use the lonet networks", ""},
		{"lo", exitOK, "Use the lonet networks", ""},
		{"--version", exitOK, "virtnet version ", ""},
		{"dmo", exitUsage, "", "virtnet: unknown command \"dmo\": did you mean \"demo\"?\nRun \"virtnet --help\" for help.\n"},
		{"lo frob", exitUsage, "", "virtnet lo: unknown command \"frob\"\nRun \"virtnet lo --help\" for help.\n"},
		{"demo x", exitUsage, "", "virtnet demo: unexpected argument \"x\"\nRun \"virtnet demo --help\" for help.\n"},
		{"demo --what", exitUsage, "", "virtnet demo: unknown flag: --what\nRun \"virtnet demo --help\" for help.\n"},
		{"lo ls a b", exitUsage, "", "virtnet lo ls: unexpected argument \"b\"\nRun \"virtnet lo ls --help\" for help.\n"},
	} {
		code, stdout, stderr := run(strings.Fields(test.args)...)
		if code != test.code || !strings.HasPrefix(stdout, test.stdout) || stderr != test.stderr {
			t.Errorf("virtnet %s: exit code %d, want %d\nstdout %q\nwant   %q…\nstderr %q\nwant   %q",
				test.args, code, test.code, stdout, test.stdout, stderr, test.stderr)
		}
	}
}
