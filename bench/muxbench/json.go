package main

import "runtime"

// results is what -json prints.
type results struct {
	Go           string            `json:"go"`
	OS           string            `json:"os"`
	Arch         string            `json:"arch"`
	Procs        int               `json:"gomaxprocs"`
	Runs         int               `json:"runs"`
	Seconds      float64           `json:"seconds"`  // of a measurement
	Settings     map[string]string `json:"settings"` // of the peers
	Summary      []row             `json:"summary"`
	Measurements []measurement     `json:"measurements"`
}

func report(p plan, ms []measurement) results {
	settings := make(map[string]string)
	for _, who := range p.peers {
		settings[who.Name] = who.Settings
	}
	return results{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Procs: runtime.GOMAXPROCS(0),
		Runs: p.runs, Seconds: p.time.Seconds(), Settings: settings,
		Summary: summarize(p, ms), Measurements: ms,
	}
}
