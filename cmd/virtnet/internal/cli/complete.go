package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/lonet"
)

// complete lets the shell complete the first argument, which is a network, and the one at place dialled, if that isn't
// 0, which is an address there. It offers what there is.
func complete(dialled int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var found []cobra.Completion
		offer := func(s string) {
			if strings.HasPrefix(s, begun) && printable(s) == s {
				found = append(found, s)
			}
		}
		switch {
		case len(args) == 0:
			list, _ := lonet.Config{}.List(cmd.Context()) // there is nobody to tell an error
			for _, n := range list {
				offer(n.Name)
			}
		case len(args) == dialled:
			n, _ := listNetwork(cmd.Context(), args[0])
			for _, h := range n.Hosts {
				if h.State != lonet.Dead {
					offer(h.Name + ":")
				}
			}
			return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
