package vaulttest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// ErrNoVault means that there is no Vault and none could be built.
var ErrNoVault = errors.New("no vault found, and none could be built")

// Options of Start. The zero Options give an unsealed in-memory server.
type Options struct {
	Progress   func(string) // told what Start is doing; a build takes minutes
	Dir        string       // data of a persistent server; empty: a temporary one, removed by Stop
	Persistent bool         // raft storage that survives Kill and Restart; always a process of its own
	Logs       io.Writer    // output of the server
	PluginDir  string       // holds database plugins; empty: where the build put them
}

// Server is a running Vault.
type Server struct {
	Address   string // "http://127.0.0.1:1234"
	RootToken string

	opts     Options
	binary   binary
	proc     *process
	stopMore func()
	ownDir   bool
	port     int
	key      string // unseal key of a persistent server
}

// Start finds or builds a Vault, starts it unless it runs already, and waits until it is ready.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	opts.Logs = cmp.Or[io.Writer](opts.Logs, io.Discard)
	if !opts.Persistent {
		if s := given(opts); s != nil {
			return s, s.await(ctx, http.StatusOK)
		}
	}
	bin, found := onPath()
	if !found {
		bin, found = cached()
	}
	if !found && !opts.Persistent && engineAnswers(ctx) {
		s, err := startContainer(ctx, opts)
		if err == nil || os.Getenv("ROTATOR_TEST_IMAGE_VAULT") != "" {
			return s, err
		}
		opts.Progress(fmt.Sprintf("%v; building one instead", err))
	}
	if !found {
		var err error
		if bin, err = built(ctx, opts.Progress); err != nil {
			return nil, fmt.Errorf("%w: set VAULT_ADDR and VAULT_TOKEN, put vault on PATH, or start Docker: %w", ErrNoVault, err)
		}
	}
	s := &Server{opts: opts, binary: bin}
	if opts.PluginDir == "" {
		s.opts.PluginDir = bin.plugins
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("starting vault: %w", err)
	}
	if err := s.launch(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting vault: %w", err)
	}
	return s, nil
}

// given is the server that the environment names.
func given(opts Options) *Server {
	addr, token := os.Getenv("VAULT_ADDR"), os.Getenv("VAULT_TOKEN")
	if addr == "" || token == "" {
		return nil
	}
	opts.Progress("using the Vault at " + addr)
	return &Server{Address: addr, RootToken: token, opts: opts}
}

// prepare chooses directory, port and token.
func (s *Server) prepare() error {
	if s.opts.Dir == "" {
		dir, err := os.MkdirTemp("", "rotator-vault-")
		if err != nil {
			return err
		}
		s.opts.Dir, s.ownDir = dir, true
	}
	if err := os.MkdirAll(filepath.Join(s.opts.Dir, "raft"), 0o700); err != nil {
		return err
	}
	s.RootToken = "root-" + rand.Text()
	var err error
	s.port, err = freePort()
	s.Address = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	return err
}

// launch starts the process and brings it to the unsealed state.
func (s *Server) launch(ctx context.Context) error {
	args, err := s.arguments()
	if err != nil {
		return err
	}
	s.opts.Progress("starting " + s.binary.path)
	if s.proc, err = startProcess(command{path: s.binary.path, args: args, dir: os.TempDir(), logs: s.opts.Logs}); err != nil {
		return err
	}
	if !s.opts.Persistent {
		return errors.Join(s.await(ctx, http.StatusOK), s.forgetDir())
	}
	if err := s.await(ctx, http.StatusServiceUnavailable, http.StatusNotImplemented); err != nil {
		return err
	}
	if s.key == "" {
		if err := s.initialize(ctx); err != nil {
			return err
		}
	}
	return s.Unseal(ctx)
}

// forgetDir removes the directory of an in-memory server as soon as the configuration is read, so that nothing is
// left when the server dies with its parent.
func (s *Server) forgetDir() error {
	if !s.ownDir {
		return nil
	}
	s.ownDir = false
	return os.RemoveAll(s.opts.Dir)
}

func (s *Server) arguments() ([]string, error) {
	config := "disable_mlock = true\nui = false\n"
	if s.opts.PluginDir != "" {
		config += fmt.Sprintf("plugin_directory = %q\n", s.opts.PluginDir)
	}
	args := []string{"server"}
	if s.opts.Persistent {
		cluster, err := freePort()
		if err != nil {
			return nil, err
		}
		config += fmt.Sprintf("api_addr = %q\ncluster_addr = \"http://127.0.0.1:%d\"\n"+
			"storage \"raft\" {\n path = %q\n node_id = \"one\"\n}\n"+
			"listener \"tcp\" {\n address = \"127.0.0.1:%d\"\n cluster_address = \"127.0.0.1:%d\"\n tls_disable = true\n}\n",
			s.Address, cluster, filepath.Join(s.opts.Dir, "raft"), s.port, cluster)
	} else {
		args = append(args, "-dev", "-dev-no-store-token", "-dev-root-token-id="+s.RootToken,
			fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", s.port))
	}
	file := filepath.Join(s.opts.Dir, "vault.hcl")
	return append(args, "-config="+file), os.WriteFile(file, []byte(config), 0o600)
}

func (s *Server) initialize(ctx context.Context) error {
	var out struct {
		Keys      []string `json:"keys_base64"`
		RootToken string   `json:"root_token"`
	}
	body := map[string]any{"secret_shares": 1, "secret_threshold": 1}
	if err := s.API(ctx, http.MethodPut, "sys/init", body, &out); err != nil {
		return err
	}
	if len(out.Keys) != 1 {
		return errors.New("initializing gave no unseal key")
	}
	s.key, s.RootToken = out.Keys[0], out.RootToken
	return nil
}

// await polls the health end point until it answers one of the given codes.
func (s *Server) await(ctx context.Context, codes ...int) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		code := s.health(ctx)
		for _, want := range codes {
			if code == want {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("vault at %s is not ready (health answers %d): %w", s.Address, code, ctx.Err())
		case <-s.proc.ended():
			return fmt.Errorf("vault ended by itself: %s", s.proc.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) health(ctx context.Context) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Address+"/v1/sys/health", nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Seal seals a persistent server: every call answers 503 until Unseal.
func (s *Server) Seal(ctx context.Context) error {
	if !s.opts.Persistent {
		return errors.New("only a persistent server can be sealed")
	}
	if err := s.API(ctx, http.MethodPut, "sys/seal", nil, nil); err != nil {
		return err
	}
	return s.await(ctx, http.StatusServiceUnavailable)
}

// Unseal opens a persistent server and waits until it is active.
func (s *Server) Unseal(ctx context.Context) error {
	if !s.opts.Persistent {
		return errors.New("only a persistent server can be unsealed")
	}
	if err := s.API(ctx, http.MethodPut, "sys/unseal", map[string]any{"key": s.key}, nil); err != nil {
		return err
	}
	return s.await(ctx, http.StatusOK)
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() { s.proc.kill() }

// Restart starts a persistent server again on its data and unseals it.
func (s *Server) Restart(ctx context.Context) error {
	if !s.opts.Persistent {
		return errors.New("only a persistent server can be restarted")
	}
	s.proc.stop()
	return s.launch(ctx)
}

// Stop ends what Start started and removes its temporary files.
func (s *Server) Stop() {
	s.proc.stop()
	if s.stopMore != nil {
		s.stopMore()
	}
	if s.ownDir {
		os.RemoveAll(s.opts.Dir)
	}
}

// freePort is a port of 127.0.0.1 that nobody listens on at this moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
