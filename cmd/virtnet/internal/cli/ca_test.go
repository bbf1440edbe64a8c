package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// A caStep is a command, and what comes of it; serial numbers, dates and times are S, D and T.
type caStep struct {
	args           string
	code           int
	stdout, stderr string
}

var caVariables = []struct {
	pattern *regexp.Regexp
	as      string
}{
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "S"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC`), "T"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`), "D"},
	{regexp.MustCompile(` {2,}`), "  "}, // the columns of tables
}

func caSteps(t *testing.T, steps []caStep) {
	t.Helper()
	for _, step := range steps {
		code, stdout, stderr := run(strings.Fields(step.args)...)
		for _, v := range caVariables {
			stdout, stderr = v.pattern.ReplaceAllString(stdout, v.as), v.pattern.ReplaceAllString(stderr, v.as)
		}
		stdout, stderr = filepath.ToSlash(stdout), filepath.ToSlash(stderr)
		if code != step.code || stdout != step.stdout || stderr != step.stderr {
			t.Errorf("virtnet %s: exit code %d, want %d\nstdout\n%s\nwant\n%s\nstderr\n%s\nwant\n%s", step.args, code, step.code, stdout, step.stdout, stderr, step.stderr)
		}
	}
}

const issuedA = `Issued a certificate for a, valid until D (365 days left).

  a.pem  its certificate
  a.key  its private key: for this node only
  ca/ca.pem  the authority's certificate, the same for all nodes
  ca/revoked.pem  what is revoked, the same for all nodes
`

func TestCA(t *testing.T) {
	t.Chdir(t.TempDir())
	caSteps(t, []caStep{
		{"ca init --name tea", exitOK, `Made the authority tea, valid until D.

  ca/ca.key  its private key: for no node
  ca/ca.pem  its certificate: every node needs it
  ca/revoked.pem  what it has revoked: every node needs it

"virtnet ca issue NAME" makes a node's certificate.
`, ""},
		{"ca init", exitFailed, "", "virtnet ca init: there is an authority in ca, and it stays as it is: name another directory with --dir\n"},
		{"ca show", exitOK, "tea, an authority in ca, valid until D (10 years left)\n\nIt has issued nothing.\n", ""},
		{"ca issue a", exitOK, issuedA, ""},
		{"ca issue a", exitFailed, "", "virtnet ca issue: a.pem is there already, and stays as it is: --renew makes a new certificate for the same key, " +
			"--force a new key too, and --out names another directory\n"},
		{"ca show a.pem a.key", exitOK, `a.pem
  node  a
  serial  S
  issued by  tea
  valid  T to T (365 days left)
  key  ECDSA P-256
  state  good, by ca/ca.pem

a.key
  private key  ECDSA P-256
`, ""},
		{"ca revoke a.pem", exitOK, "Revoked a (serial S).\nEvery node needs the new ca/revoked.pem.\n", ""},
		{"ca revoke a", exitOK, "a (serial S) was revoked on T already.\nEvery node needs the new ca/revoked.pem.\n", ""},
		{"ca show a.pem ca/revoked.pem", exitFailed, `a.pem
  node  a
  serial  S
  issued by  tea
  valid  T to T (365 days left)
  key  ECDSA P-256
  state  not good: it was revoked by "tea" on T

ca/revoked.pem
  revocation list  1 certificate of tea, T
  state  good, by ca/ca.pem
`, "virtnet ca show: 1 problem, see above\n"},
		{"ca issue a --force", exitOK, issuedA, ""},
		{"ca init --parent ca --name low sub", exitOK, `Made the authority low, valid until D.

  sub/ca.key  its private key: for no node
  sub/ca.pem  its certificate: every node needs it
  sub/revoked.pem  what it has revoked: every node needs it

"virtnet ca issue --dir sub NAME" makes a node's certificate.
`, ""},
		{"ca show sub --dir sub", exitOK, "low, an authority in sub, valid until D (10 years left)\nbelow the authority tea\n\nIt has issued nothing.\n", ""},
		{"ca issue b --days 10000 --dir sub", exitOK, strings.NewReplacer("for a,", "for b,", "  a.pem", "  b.pem", "  a.key", "  b.key", "ca/ca.pem", "sub/ca.pem", "ca/r", "sub/r", "365 days", "10 years").Replace(issuedA) +
			"\nIt is valid for less than 10000 days because the authority is not valid for longer.\n", ""},
	})
	_, stdout, _ := run("ca", "show")
	for _, want := range []string{"\nNAME ", "\na ", " revoked 20", " good\n", ", an authority\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("in the end there is no %q in\n%s", want, stdout)
		}
	}
	if info, err := os.Stat("a.key"); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("the key's mode: %v, %v", info.Mode(), err)
	}

	// What was made is good to a node, that of the authority below too.
	for _, name := range []string{"a", "b"} {
		c, err := ca.Files{Cert: name + ".pem", Key: name + ".key", Roots: "ca/ca.pem", Revoked: "ca/revoked.pem"}.Open()
		if err != nil || c.Self().Name != name {
			t.Fatalf("%s: %v", name, err)
		}
		c.Close()
	}
}

func TestCAErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	noSuch := "no such file or directory"
	if runtime.GOOS == "windows" {
		t.Skip("errors of files read otherwise there")
	}
	noCA := "no authority in ca: open ca/ca.pem: " + noSuch + "; \"virtnet ca init\" makes one, and --dir says where one is\n"
	help := func(command string) string { return "Run \"virtnet ca " + command + " --help\" for help.\n" }
	caSteps(t, []caStep{
		{"ca issue a", exitFailed, "", "virtnet ca issue: " + noCA},
		{"ca show", exitFailed, "", "virtnet ca show: " + noCA},
		{"ca revoke a", exitFailed, "", "virtnet ca revoke: " + noCA},
		{"ca init --parent none", exitFailed, "", "virtnet ca init: no authority in none: open none/ca.pem: " + noSuch + "; \"virtnet ca init\" makes one, and --dir says where one is\n"},
		{"ca show a.pem", exitFailed, "", "virtnet ca show: stat a.pem: " + noSuch + "\n"},
		{"ca init x --dir y", exitUsage, "", "virtnet ca init: the directory is given twice, as \"x\" and with --dir\n" + help("init")},
		{"ca init --days -1", exitUsage, "", "virtnet ca init: --days -1: it is between 0 and 36500\n" + help("init")},
		{"ca init --name a/b", exitFailed, "", "virtnet ca init: the authority's name \"a/b\" has a \":\" or \"/\", which only a URI name may have\n"},
		{"ca issue", exitUsage, "", "virtnet ca issue: NAME is missing\n" + help("issue")},
		{"ca issue a b", exitUsage, "", "virtnet ca issue: unexpected argument \"b\"\n" + help("issue")},
		{"ca issue a --csr x --renew", exitUsage, "", "virtnet ca issue: --renew is for the key that is there, and --csr for another: give one of them\n" + help("issue")},
		{"ca issue a --renew", exitFailed, "", "virtnet ca issue: there is no key to renew a certificate for: open a.key: " + noSuch + "; without --renew there is a new one\n"},
		{"ca revoke", exitUsage, "", "virtnet ca revoke: it is not said what to revoke: NAME, SERIAL or FILE\n" + help("revoke")},
		{"ca frob", exitUsage, "", "virtnet ca: unknown command \"frob\"\nRun \"virtnet ca --help\" for help.\n"},
	})
	other := makeCA(t, "other", "other")
	issued, err := other.Issue("x", ca.IssueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	makeCA(t, "ca", "tea")
	for name, data := range map[string][]byte{"x.pem": issued.CertPEM, "half.pem": issued.CertPEM[:99], "x.key": issued.KeyPEM, "empty": nil} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	caSteps(t, []caStep{
		{"ca revoke none", exitFailed, "", "virtnet ca revoke: the authority has issued nothing with the name or serial number \"none\", nor is there a file of that name; " +
			"\"virtnet ca show\" lists what it has issued\n"},
		{"ca revoke x.pem", exitFailed, "", "virtnet ca revoke: x.pem: its certificate is issued by \"other\", not by this authority, \"tea\", which therefore cannot revoke it\n"},
		{"ca revoke x.key", exitFailed, "", "virtnet ca revoke: x.key: there is no certificate in it\n"},
		{"ca revoke half.pem", exitFailed, "", "virtnet ca revoke: half.pem: it is damaged or cut off: of 1 PEM blocks that begin in it 0 can be read\n"},
		{"ca show half.pem", exitFailed, "", "virtnet ca show: half.pem: it is damaged or cut off: of 1 PEM blocks that begin in it 0 can be read\n"},
		{"ca show --roots half.pem x.pem", exitFailed, "", "virtnet ca show: half.pem: it is damaged or cut off: of 1 PEM blocks that begin in it 0 can be read\n"},
		{"ca show --roots other/ca.pem --revoked empty x.pem", exitOK, "x.pem\n  node  x\n  serial  S\n  issued by  other\n  valid  T to T (365 days left)\n  key  ECDSA P-256\n  state  good, by other/ca.pem\n", ""},
		{"ca show --dir none --revoked empty x.pem", exitUsage, "", "virtnet ca show: --revoked goes with --roots\n" + help("show")},
		{"ca show --dir none x.pem", exitOK, "x.pem\n  node  x\n  serial  S\n  issued by  other\n  valid  T to T (365 days left)\n  key  ECDSA P-256\n" +
			"  state  nothing is wrong in itself; with --roots it is known whether it can be trusted\n", ""},
		{"ca show x.pem", exitFailed, "x.pem\n  node  x\n  serial  S\n  issued by  other\n  valid  T to T (365 days left)\n  key  ECDSA P-256\n" +
			"  state  not good: it is issued by \"other\", which is not trusted here, nor is an authority above it that it has shown: trusted is \"tea\"\n", "virtnet ca show: 1 problem, see above\n"},
		{"ca issue --csr x.pem y", exitFailed, "", "virtnet ca issue: x.pem: there is no certificate request in the file: \"openssl req -new\" makes one\n"},
		{"ca issue *", exitFailed, "", "virtnet ca issue: the name \"*\" has a *: a node has a name of its own, no pattern\n"},
	})
}

func makeCA(t *testing.T, dir, name string) *ca.Authority {
	t.Helper()
	a, err := ca.Create(name, ca.Options{})
	if err == nil {
		err = a.Save(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A certificate is renewed for the key that is there, or issued for one that was made elsewhere.
func TestCAKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	makeCA(t, "ca", "tea")
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err == nil {
		err = os.WriteFile("a.csr", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(issuedA, "  a.key  its private key: for this node only\n", "", 1)
	caSteps(t, []caStep{{"ca issue a --csr a.csr", exitOK, without, ""}})
	if _, err := os.Stat("a.key"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key: %v", err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err == nil {
		err = os.WriteFile("a.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile("a.pem")
	caSteps(t, []caStep{{"ca issue a --renew", exitOK, without, ""}})
	if after, _ := os.ReadFile("a.pem"); string(after) == string(before) {
		t.Error("it is the same certificate")
	}
	c, err := ca.Files{Cert: "a.pem", Key: "a.key", Roots: "ca/ca.pem"}.Open()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if files, _ := filepath.Glob("*.new"); len(files) > 0 {
		t.Errorf("left are %v", files)
	}
}

func TestCAJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	decode := func(doc any, args string) {
		t.Helper()
		code, stdout, stderr := run(strings.Fields(args)...)
		if err := json.Unmarshal([]byte(stdout), doc); err != nil || code != exitOK || stderr != "" {
			t.Errorf("virtnet %s: exit code %d, %v, stderr %q\n%s", args, code, err, stderr, stdout)
		}
	}
	var made authorityJSON
	decode(&made, "ca init --json")
	if !strings.HasPrefix(made.Name, "mesh-") || made.Dir != "ca" || made.Serial == "" || time.Until(made.Expires) < 3649*24*time.Hour {
		t.Errorf("init: %+v", made)
	}
	var first, second issuedJSON
	decode(&first, "ca issue spiffe://mesh/x/a --json --out nodes")
	decode(&second, "ca issue b --days 0.5 --json")
	if first.Cert != filepath.Join("nodes", "mesh-x-a.pem") || first.Key != filepath.Join("nodes", "mesh-x-a.key") || first.Issuer != made.Name || time.Until(second.Expires) > 12*time.Hour {
		t.Errorf("issue: %+v, %+v", first, second)
	}
	var revoked revokeJSON
	decode(&revoked, "ca revoke --json spiffe://mesh/x/a "+second.Serial[:8])
	if r := revoked.Revoked; len(r) != 2 || r[0].Serial != first.Serial || r[1].Name != "b" || r[1].Already || time.Since(r[1].At) > time.Minute {
		t.Errorf("revoke: %+v", revoked)
	}
	var shown showJSON
	decode(&shown, "ca show --json")
	if a := shown.Authorities; len(a) != 1 || a[0].Name != made.Name || len(a[0].Issued) != 2 || a[0].Issued[0].Name != "b" || a[0].Issued[0].State != "revoked" || a[0].Issued[0].RevokedAt == nil {
		t.Errorf("show: %+v", shown)
	}
	code, stdout, stderr := run("ca", "show", "--json", "b.pem")
	shown = showJSON{}
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil || code != exitFailed || stderr != "virtnet ca show: 1 problem, see above\n" {
		t.Errorf("show of a file: exit code %d, %v, stderr %q", code, err, stderr)
	}
	if f := shown.Files; len(f) != 1 || f[0].Items[0].Good || !strings.HasPrefix(f[0].Items[0].Problem, `it was revoked by "`+made.Name+`" on `) {
		t.Errorf("show of a file: %+v", shown)
	}
}

func TestCANames(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "a.example": "a.example", "spiffe://mesh/ns/a": "mesh-ns-a", "urn:x": "urn-x", "Knoten α": "Knoten-α",
		"-rf": "_rf", "..": "_.", strings.Repeat("α", 150): strings.Repeat("α", 100),
	} {
		if got := fileName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	now := time.Now().Add(time.Second)
	for d, want := range map[time.Duration]string{
		-time.Minute: "none left", time.Minute: "1 minute left", 90 * time.Minute: "2 hours left", 30 * time.Hour: "30 hours left", 36 * time.Hour: "2 days left",
		365 * 24 * time.Hour: "365 days left", 3650 * 24 * time.Hour: "10 years left",
	} {
		if got := remaining(now.Add(d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := harmless("a\x1b[2J\u202eb\n"); got != "a?[2J?b?" {
		t.Errorf("harmless: %q", got)
	}
}
