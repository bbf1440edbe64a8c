package registry
import "zombiezen.com/go/sqlite"
func childWrite(m *member, bare *sqlite.Conn, a []string) (string, error) { return "", nil }
