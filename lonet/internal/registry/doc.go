// Package registry is what the processes of a lonet network share: the list of hosts, in an SQLite database, and
// the marks that tell which processes are alive.
//
// # Files
//
//	<temporary directory>/lonet/        1777, of whoever came first
//	    <network>/                      0700, of the network's user
//	        registry.db, -wal, -shm     the SQLite database
//	        <port>.live                 one mark for each process's sub-network
//
// Modes do not depend on the umask. A network's directory that is a symbolic link, or belongs to another
// user, is refused.
//
// # Database
//
//	hosts (hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL)
//	meta  (name     TEXT NON NULL PRIMARY KEY, value   TEXT NON NULL)
//
// meta holds schemaver, "lonet.1", and network, the name without "lonet" before it. A row of hosts says that the process
// which accepts at osladdr, "127.0.0.1:port", has the host. Programs that know just this share the network
// with ours; the database is in WAL mode. We use one thing more, the rowid of hosts, as the id of an announcement: whoever
// of us announces a host, or takes its name over, gives the row a new one, Unix time in milliseconds
// times 2²⁰ plus 20 random bits. A row that was found to be stale is replaced only if it is still the one that was
// judged:
//
//	UPDATE hosts SET rowid = ?, osladdr = ? WHERE hostname = ? AND rowid = ? AND osladdr = ?
//
// Beyond the making of the tables, and the locking of a database that is removed, there is no transaction of more than
// one statement.
//
// # Marks
//
// The mark of a process is the file <port>.live, port being that of its osladdr. It is empty; the process holds an
// exclusive lock on it, flock(2) or on Windows LockFileEx of the first byte, which the kernel drops with the
// process, however it ends. A stopped process keeps it.
//
//   - To take a mark, open the file, making it (0600), lock it without waiting, and see that the path still leads to
//     the locked file; otherwise start again. Others hold it for moments: try for half a second.
//   - With the mark taken, delete all rows with the own osladdr: they are of a dead process that had the port before.
//   - To look at a mark, open it without making it and try a shared lock without waiting: refused means running, got
//     means gone. Let go at once.
//   - On closing, delete the own rows as far as that takes no more than some 20 ms, then remove the file, then let go of
//     it (on Windows let go first). The rows go before the mark, since after it the port may have a new owner.
//   - A mark that is found free may be removed by others, who hold it exclusively meanwhile and have
//     deleted all rows with its osladdr before.
//
// A forked child that does not exec keeps the lock with the file it inherits and has to close it, without unlocking.
//
// # Who has a name
//
// A name is its process's as long as the process lives, and judged when somebody else wants it: its process is asked
// by a handshake for port 0 of the host, then its mark is looked at. See judge for what follows from the two. A
// process must not answer "no such host" of a host that it is about to announce or has announced, since another takes
// the name over on that word; while the host is not ready the answer is "connection refused".
//
// # Turns
//
// SQLite finds a database's -wal and -shm by their paths when it first reads it. So that they are that database's own, those
// who open a registry take turns with those who make, replace or remove one: see turn. Programs that know only
// registry.db take none; what is done for them is in evict.go.
//
// # Removal
//
// GC removes rows and marks of processes that are gone, and networks that nobody uses: where no mark is held, all rows
// are dead, nobody has the database open, which SQLite's own locks tell of any program, and which was not used lately.
//
// # Loss
//
// Whoever removes, replaces or spoils a network's files under its processes splits it: those stay on a database that nobody
// who joins later sees. They look for it once a second, and when they announce a host or do not find one; then
// they open what is there, or make it, and announce their hosts again. The rows of others they take with them. A
// damaged database is replaced by who finds that, also when it joins. See session, attach, clear and mend.
package registry
