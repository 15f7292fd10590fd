package config

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// Config is everything rotator.yaml says, with defaults filled in.
type Config struct {
	Path    string // the file, for error texts
	NATS    NATS
	Vault   Vault
	Hosts   map[string]Host // OpenWhisk hosts by name
	Bundles map[string]rotator.Bundle
	Data    string // directory of the embedded server
	Log     Log
	Ops     Ops
	Events  Events
	Intake  Intake
	People  People
	Limits  Limits
	// Reconcile says how often what exists is compared with the journal, and what follows.
	Reconcile rotator.Reconcile
	Warnings  Problems // what may be right elsewhere, but deserves a look
}

// NATS says where the events, the journal and the outcomes are. Without a URL the server is embedded.
type NATS struct {
	URL             string // one or more servers, separated by commas; empty: embedded
	CredentialsFile string // user JWT and seed
	NKeyFile        string // seed
	CAFile          string
	CertFile        string
	KeyFile         string
	Replicas        int    // of streams and buckets: 1, 3 or 5
	Listen          string // embedded only: address for other processes on this machine; empty: no listener
}

// Log says how the program logs.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto, json or text
}

// Ops is the address of health, readiness, metrics and status page.
type Ops struct {
	Listen string // empty: none
}

// Events says whose events are believed, and what they may do by themselves.
type Events struct {
	Publishers []string      // names allowed as <publisher> in the subject; empty: whoever NATS lets publish
	Scopes     stream.Scopes // what they may say
	Gate       rotator.Gate
	Signers    stream.Signers // whose events have to be signed
	SignFile   string         // nkey seed with which events are signed that are published with this configuration
}

// Limits bound what one process does at a time.
type Limits struct {
	Bundles int           // bundles rotated at a time; a quarter more for leaks
	Vault   int           // calls to Vault under way at a time
	Lease   time.Duration // after this time without a sign of life another replica takes over

	Straggler time.Duration // longest time for which a host may go on with a request that nobody waits for
}

// A Machine is what a configuration may look at besides its own text. A nil function sees nothing.
type Machine struct {
	Env      func(string) (string, bool)
	ReadFile func(string) ([]byte, error)
	Stat     func(string) (fs.FileInfo, error)
}

// ThisMachine sees the environment and the files of the running process.
func ThisMachine() Machine {
	return Machine{Env: os.LookupEnv, ReadFile: os.ReadFile, Stat: os.Stat}
}

// Load reads the file at path. The error is a Problems when the file could be read but is not right.
func Load(path string, m Machine) (*Config, error) {
	if m.ReadFile == nil {
		m.ReadFile = os.ReadFile
	}
	data, err := m.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w; name another file with -c", err)
	}
	return Parse(path, data, m)
}

// Parse reads a configuration from memory. The name is the file's path: it appears in error texts, and
// relative paths in the file are relative to its directory. Any error is a Problems.
func Parse(name string, data []byte, m Machine) (*Config, error) {
	r := &reader{file: name, dir: filepath.Dir(name), machine: m}
	root, ok := r.parse(data)
	if !ok {
		return nil, r.problems.sorted()
	}
	if !isMapping(root.node) {
		root.section()
		return nil, r.problems
	}
	c := r.config(root)
	r.refuseLiteralSecrets(root.node, 0)
	errs, warnings := r.problems.split()
	if len(errs) > 0 {
		return nil, r.problems.sorted()
	}
	c.Warnings = warnings.sorted()
	return c, nil
}

// config reads the top level.
func (r *reader) config(root value) *Config {
	c := &Config{Path: r.file}
	top := root.section()
	defer top.done()
	c.NATS = r.nats(top)
	c.Vault = r.vault(top)
	r.hosts = r.readHosts(top)
	c.Hosts = r.hosts
	c.Bundles = r.bundles(top, c.Vault.FingerprintKey)
	state, _, _ := strings.Cut(r.env("STATE_DIRECTORY"), ":") // systemd's: what a unit may write to
	c.Data = r.path(top.text("data", cmp.Or(state, "rotator-data")))
	if v, ok := top.field("data"); ok && c.NATS.URL != "" {
		v.warn("is not used: it belongs to the embedded server", "remove data, or remove nats.url")
	}
	log := top.sub("log")
	c.Log = Log{Level: log.choice("level", "info", "debug", "warn", "error"), Format: log.choice("format", "auto", "json", "text")}
	log.done()
	ops := top.sub("ops")
	c.Ops.Listen = ops.address("listen", "127.0.0.1:9180", false)
	ops.done()
	c.Events = r.events(top)
	c.Intake = r.intake(top, c.Events)
	checkTaps(top, c.Events.Publishers, c.Intake)
	c.People = r.people(top)
	limits := top.sub("limits")
	c.Limits.Bundles = limits.count("bundles", 8, 1, 64)
	c.Limits.Vault = limits.count("vault", 32, 1, 256)
	c.Limits.Lease = limits.duration("lease", 45*time.Second, 2*time.Second, 10*time.Minute)
	c.Limits.Straggler = limits.duration("straggler", 65*time.Second, time.Second, 10*time.Minute)
	limits.done()
	rec := top.sub("reconcile")
	c.Reconcile = rotator.Reconcile{
		Every:  rec.duration("every", time.Hour, 0, 30*24*time.Hour),
		Settle: rec.duration("settle", 20*time.Minute, time.Second, 24*time.Hour),
		Revoke: rec.choice("orphans", "revoke", "report") == "revoke",
		Apply:  rec.choice("drift", "report", "apply") == "apply",
	}
	rec.done()
	return c
}

// path makes a path of the file relative to the file's own directory.
func (r *reader) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(r.dir, p)
}

func (r *reader) env(name string) string {
	if r.machine.Env == nil {
		return ""
	}
	s, _ := r.machine.Env(name)
	return s
}
