package virtnet_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/virtnet/virtnet"

// graph says what packages may import, tests aside. The standard library is free to all, except for package
// testing. "x/..." is x and everything below it; the longest pattern that matches a package counts. Another
// module is named by its path, and stands for all of its packages.
var graph = []struct{ pkg, may string }{
	// What several packages need, and tests of several packages.
	{"internal/hostname", ""},
	{"internal/pipe", ""},
	{"internal/punycode", ""},
	{"internal/queue", ""},
	{"internal/needs", "testing"},
	{"internal/ratio", "testing"},

	{"xnet/...", "xnet/... internal/punycode"},

	{"mux", "internal/queue"}, // it is for everybody: it knows none of our networks

	{"virtnet", "xnet internal/hostname internal/punycode internal/queue"},

	{"pipenet", "virtnet xnet internal/hostname internal/punycode internal/pipe"},
	{"netem", "virtnet xnet internal/hostname internal/punycode internal/queue"},
	{"netem/netemtest", "virtnet netem testing"},
	{"lonet/...", "virtnet xnet internal/hostname internal/punycode internal/queue lonet/... github.com/gofrs/flock golang.org/x/sys " +
		"zombiezen.com/go/sqlite modernc.org/sqlite modernc.org/libc"},

	{"vdns", "virtnet internal/punycode golang.org/x/net"},

	{"virtnettest", "virtnet xnet internal/hostname internal/punycode testing golang.org/x/net"},

	{"python/...", "virtnet xnet lonet"}, // what the tests of lonet in Python talk to

	{"astranet", "mux xnet internal/pipe internal/punycode astranet/ca github.com/coder/websocket"},

	{"astranet/ca", ""}, // identity: the standard library only
	{"astranet/internal/directory", "astranet/internal/route astranet/ca"},
	{"astranet/internal/route", ""},

	{"cmd/...", "virtnet xnet/... pipenet lonet astranet astranet/ca internal/hostname cmd/... github.com/spf13/cobra golang.org/x/sys"},
}

// listed is what go list tells of a package.
type listed struct {
	ImportPath, Name, Doc string
	Imports               []string
	Standard              bool
	Module                *struct{ Path string }
}

// list lists the packages of this module as they are on a system. With deps, it lists all they depend on too.
func list(t *testing.T, goos string, deps bool) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Doc,Imports,Standard,Module",
		fmt.Sprintf("-deps=%v", deps), module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// TestDependencies holds every package to the graph.
func TestDependencies(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		packages := list(t, goos, true)
		names := make(map[string]string) // import path -> its name in the graph
		for _, p := range packages {
			names[p.ImportPath] = graphName(p)
		}
		for _, p := range packages {
			if p.Standard || p.Module == nil || p.Module.Path != module {
				continue
			}
			may, known := allowed(names[p.ImportPath])
			if !known {
				t.Errorf("%s: package is not in the graph: add it, and what it may import", p.ImportPath)
				continue
			}
			for _, path := range p.Imports {
				if name := names[path]; name != "" && !slices.ContainsFunc(may, func(m string) bool { return matches(m, name) }) {
					t.Errorf("%s imports %s, which the graph does not allow (%s)", p.ImportPath, path, goos)
				}
			}
		}
	}
}

// graphName returns what the graph calls a package, "" for what is free to all.
func graphName(p listed) string {
	switch {
	case p.ImportPath == "testing":
		return "testing"
	case p.Standard:
		return ""
	case p.ImportPath == module:
		return "virtnet"
	case p.Module != nil && p.Module.Path != module:
		return p.Module.Path
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// allowed returns the patterns of what a package may import.
func allowed(name string) (may []string, known bool) {
	best := ""
	for _, g := range graph {
		if matches(g.pkg, name) && len(g.pkg) > len(best) {
			best, may = g.pkg, strings.Fields(g.may)
		}
	}
	return may, best != ""
}

func matches(pattern, name string) bool {
	if top, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == top || strings.HasPrefix(name, top+"/")
	}
	return pattern == name
}

// TestPackageDocs checks that every package says what it is, in the form that go doc knows.
func TestPackageDocs(t *testing.T) {
	for _, p := range list(t, "linux", false) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = ""
		}
		if p.Doc == "" || !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: package comment %q, want one that begins with %q", p.ImportPath, p.Doc, want)
		}
	}
}
