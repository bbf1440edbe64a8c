package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestComplete(t *testing.T) {
	tmp := tempDir(t)
	join(t, "tea", "α", "αβ", "γ")
	join(t, "time")
	join(t, "cup")
	os.Mkdir(tmp+"/lonet/te\u202e", 0o700)
	const plain, address = cobra.ShellCompDirectiveNoFileComp, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	for _, test := range []struct {
		args string // the last is what has been typed of one
		want string
		how  cobra.ShellCompDirective
	}{
		{"dial ", "cup tea time", plain},
		{"dial te", "tea", plain},
		{"dial tea ", "α: αβ: γ:", address},
		{"dial tea α", "α: αβ:", address},
		{"dial none ", "", address},
		{"dial tea α:1 ", "", plain},
		{"listen t", "tea time", plain},
		{"listen tea ", "", plain},
		{"expose t", "tea time", plain},
		{"expose tea α:1 ", "", plain},
		{"forward t", "tea time", plain},
		{"forward tea ", "", plain},
		{"forward tea β ", "", plain},
		{"forward tea β 0 γ", "γ:", address},
	} {
		code, stdout, _ := run(append([]string{"__complete", "lo"}, strings.Split(test.args, " ")...)...)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		got, how := lines[:len(lines)-1], lines[len(lines)-1]
		if code != exitOK || !slices.Equal(got, strings.Fields(test.want)) || how != fmt.Sprintf(":%d", test.how) {
			t.Errorf("%s: exit code %d, %q, %s; want %q, :%d", test.args, code, got, how, test.want, test.how)
		}
	}
}
