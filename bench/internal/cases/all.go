package cases

import "time"

// All are the cases, in the order of the tables. Targets are for two or more cores.
var All = []Case{
	{Name: "tput1", Doc: "one stream, 128 KiB writes, 128 KiB reads", Over: "tcp",
		Metrics: bulk("1.0", none), Limit: 20 * time.Second, run: tput(1, readBulk)},
	{Name: "tput1wt", Doc: "the same, received by io.Copy", Over: "tcp",
		Metrics: bulk("1.0", none), Limit: 20 * time.Second, run: tput(1, copyBulk)},
	{Name: "tput100", Doc: "100 streams at once, 128 KiB writes", Over: "tcp",
		Metrics: bulk("0.65", none), Limit: 20 * time.Second, run: tput(100, readBulk)},
	{Name: "ping1", Doc: "64 B there and back, one stream", Over: "tcp",
		Metrics: pings("0.72", none), Limit: 20 * time.Second, run: ping(1)},
	{Name: "ping100", Doc: "the same, 100 streams at once", Over: "tcp",
		Metrics: pings("4.5", none), Limit: 20 * time.Second, run: ping(100)},
	{Name: "open1", Doc: "open, 64 B, 64 B back, close; one after the other", Over: "tcp",
		Metrics: opens("3.0"), Limit: 20 * time.Second, run: open(1)},
	{Name: "open64", Doc: "the same, 64 at once", Over: "tcp",
		Metrics: opens("5.5"), Limit: 20 * time.Second, run: open(64)},
	{Name: "iso100", Doc: "tput1 while 100 other streams are full and not read", Over: "tcp",
		Metrics: append(bulk("1.0", none), Metric{Key: "blocked", Unit: "KiB written to each full stream", Kind: More}),
		Limit:   10 * time.Second, run: isolation(100)},
	{Name: "loadlat", Doc: "64 B there and back while another stream carries 128 KiB writes", Over: "tcp", Metrics: []Metric{
		{Key: "p99", Unit: "µs, 99th percentile", Kind: Main, Base: "tcp", Target: "<2.0"},
		{Key: "kept", Unit: "of the bulk rate alone", Kind: Main, Target: "0.8"},
		{Key: "p50", Unit: "µs, median", Kind: More},
		{Key: "bulk", Unit: "MB/s meanwhile", Kind: More},
	}, Limit: 20 * time.Second, run: loaded},

	{Name: "tls-tput1", Doc: "tput1 over TLS; a TLS connection is the baseline", Over: "tls",
		Metrics: bulk("0.9", ""), Limit: 20 * time.Second, run: tput(1, readBulk)},
	{Name: "tls-tput1wt", Doc: "tput1wt over TLS", Over: "tls",
		Metrics: bulk("0.9", ""), Limit: 20 * time.Second, run: tput(1, copyBulk)},
	{Name: "tls-ping1", Doc: "ping1 over TLS", Over: "tls",
		Metrics: pings("", ""), Limit: 20 * time.Second, run: ping(1)},

	{Name: "path", Doc: "one stream, 128 KiB writes, over 1 Gbit/s with a round trip of 100 ms, from a fresh session on", Over: "path",
		Metrics: []Metric{
			{Key: "share", Unit: "of the bandwidth after 2 s", Kind: Main, Target: "0.9"},
			{Key: "share2s", Unit: "of the bandwidth in the first 2 s", Kind: Main},
			{Key: "reached", Unit: "s until 0.9 of the bandwidth for 200 ms", Kind: More},
			{Key: "share500ms", Unit: "of the bandwidth until 0.5 s", Kind: More},
			{Key: "share1000ms", Unit: "from 0.5 to 1 s", Kind: More},
			{Key: "share1500ms", Unit: "from 1 to 1.5 s", Kind: More},
			{Key: "share2000ms", Unit: "from 1.5 to 2 s", Kind: More},
		}, Limit: 20 * time.Second, run: ramp(2*time.Second, 2*time.Second)},

	{Name: "mem10k", Doc: "10,000 idle streams, after a byte each way; both ends", Over: "tcp",
		Metrics: memory("", ""), Without: []string{"tcp"}, Limit: 30 * time.Second, run: idle(10_000)},
	{Name: "mem100k", Doc: "100,000", Over: "tcp",
		Metrics: memory("<350", ""), Without: []string{"tcp", "http2"}, Limit: 60 * time.Second, run: idle(100_000)},
	{Name: "mem1M", Doc: "1,000,000", Over: "tcp", Extra: true,
		Metrics: memory("<350", "<0.2"), Without: []string{"tcp", "http2"}, Limit: 5 * time.Minute, run: idle(1_000_000)},

	{Name: "check", Doc: "that bytes arrive as they were sent, over TCP", Over: "tcp", Extra: true,
		Metrics: verified, Limit: 60 * time.Second, run: check(100, 4<<20)},
	{Name: "tls-check", Doc: "the same over TLS", Over: "tls", Extra: true,
		Metrics: verified, Limit: 60 * time.Second, run: check(100, 1<<20)},
}

// none is the target for allocations in a steady state: what a collection takes from pools has to be made again.
const none Target = "<0.05"

func bulk(target, allocs Target) []Metric {
	return []Metric{
		{Key: "rate", Unit: "MB/s", Kind: Main, Base: "tcp", Target: target},
		{Key: "cpu", Unit: "ms per 100 MB", Kind: CPU, Base: "tcp"},
		{Key: "allocs", Unit: "per 128 KiB", Kind: Allocs, Target: allocs},
	}
}

func pings(target, allocs Target) []Metric {
	return []Metric{
		{Key: "rate", Unit: "round trips/s", Kind: Main, Base: "tcp", Target: target},
		{Key: "cpu", Unit: "µs each", Kind: CPU, Base: "tcp"},
		{Key: "allocs", Unit: "each", Kind: Allocs, Target: allocs},
		{Key: "p50", Unit: "µs, median", Kind: More},
		{Key: "p99", Unit: "µs, 99th percentile", Kind: More},
	}
}

func opens(target Target) []Metric {
	return []Metric{
		{Key: "rate", Unit: "streams/s", Kind: Main, Base: "tcp", Target: target},
		{Key: "cpu", Unit: "µs each", Kind: CPU, Base: "tcp"},
		{Key: "allocs", Unit: "each", Kind: Allocs, Target: "<6"},
	}
}

func memory(bytes, seconds Target) []Metric {
	return []Metric{
		{Key: "bytes", Unit: "B a stream", Kind: Main, Target: bytes},
		{Key: "seconds", Unit: "s to open them", Kind: Main, Base: "go-yamux", Target: seconds},
		{Key: "cpu", Unit: "µs a stream", Kind: CPU, Base: "go-yamux"},
		{Key: "allocs", Unit: "a stream", Kind: Allocs},
		{Key: "goroutines", Unit: "goroutines a stream", Kind: More},
	}
}

var verified = []Metric{{Key: "bytes", Unit: "MB verified", Kind: Main}}
