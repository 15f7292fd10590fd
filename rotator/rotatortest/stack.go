package rotatortest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

// OpenWhiskKey is the key, "uuid:key", of the namespace guest on the OpenWhisk host.
const OpenWhiskKey = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"

// Config says what the rotator is to look after.
type Config struct {
	// Bundles is what stands below "bundles:" in rotator.yaml, indented by two spaces. The host is called test; Vault's KV
	// engine is mounted at secret/, the anchor role may mint everything.
	Bundles string
	// Seed fills Vault and the OpenWhisk host before the rotator starts. It may be nil.
	Seed func(ctx context.Context, s *Stack) error
	// Replicas of the rotator; 0 is 1.
	Replicas int
}

// A Stack is the running systems, as the test reaches them.
type Stack struct {
	NATS       string // "nats://127.0.0.1:1234"
	Vault      string // "http://127.0.0.1:1234"
	VaultToken string
	OpenWhisk  string // "http://127.0.0.1:1234"

	t        testing.TB
	conn     *nats.Conn
	network  *testcontainers.DockerNetwork
	rotators []testcontainers.Container

	mu     sync.Mutex
	places map[string]string // of published events, in their stream
}

const vaultToken = "rotatortest-root"

// Start runs everything and returns when the rotator is ready.
func Start(t testing.TB, c Config) *Stack {
	t.Helper()
	if !engineAnswers() {
		missing(t, "rotatortest: no container engine answers; start Docker or set DOCKER_HOST")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s := &Stack{t: t, VaultToken: vaultToken}
	var err error
	if s.network, err = network.New(ctx); err != nil {
		t.Fatalf("rotatortest: making a network: %v", err)
	}
	t.Cleanup(func() { _ = s.network.Remove(context.Background()) })
	s.NATS = "nats://" + s.run(ctx, part{name: "nats", image: image("NATS", "nats:2.12-alpine"), port: "4222/tcp", cmd: []string{"-js", "-sd", "/tmp"}})
	s.Vault = "http://" + s.run(ctx, part{name: "vault", image: image("VAULT", "hashicorp/vault:1.21"), port: "8200/tcp", ready: wait.ForHTTP("/v1/sys/health").WithPort("8200/tcp"),
		env: map[string]string{"VAULT_DEV_ROOT_TOKEN_ID": vaultToken, "VAULT_DEV_LISTEN_ADDRESS": "0.0.0.0:8200", "SKIP_SETCAP": "true"}})
	s.OpenWhisk = "http://" + s.run(ctx, part{name: "openwhisk", image: image("OPENWHISK", "rotator-demo"), port: "3233/tcp", cmd: []string{"openwhisk"}})
	if s.conn, err = nats.Connect(s.NATS, nats.MaxReconnects(-1)); err != nil {
		t.Fatalf("rotatortest: connecting to NATS: %v", err)
	}
	t.Cleanup(s.conn.Close)
	if err := s.anchors(ctx); err != nil {
		t.Fatalf("rotatortest: preparing Vault: %v", err)
	}
	if c.Seed != nil {
		if err := c.Seed(ctx, s); err != nil {
			t.Fatalf("rotatortest: seeding: %v", err)
		}
	}
	for i := range max(c.Replicas, 1) {
		s.rotator(ctx, fmt.Sprintf("rotator-%d", i+1), c.Bundles)
	}
	return s
}

// A part is one container.
type part struct {
	name, image, port string
	cmd               []string
	env               map[string]string
	files             map[string]string
	ready             wait.Strategy
}

func image(name, official string) string {
	return cmp.Or(os.Getenv("ROTATOR_TEST_IMAGE_"+name), official)
}

// run starts one container and returns its address on this machine.
func (s *Stack) run(ctx context.Context, p part) (address string) {
	s.t.Helper()
	return endpoint(ctx, s.t, s.start(ctx, p), p)
}

func (s *Stack) start(ctx context.Context, p part) testcontainers.Container {
	s.t.Helper()
	r := testcontainers.ContainerRequest{Image: p.image, Cmd: p.cmd, Env: p.env, ExposedPorts: []string{p.port},
		Networks: []string{s.network.Name}, NetworkAliases: map[string][]string{s.network.Name: {p.name}}, WaitingFor: p.ready}
	if r.WaitingFor == nil {
		r.WaitingFor = wait.ForListeningPort(p.port).SkipInternalCheck() // there is no shell inside
	}
	for path, content := range p.files {
		r.Files = append(r.Files, testcontainers.ContainerFile{Reader: strings.NewReader(content), ContainerFilePath: path, FileMode: 0o644})
	}
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: r, Started: true})
	testcontainers.CleanupContainer(s.t, c)
	if err != nil {
		s.t.Fatalf("rotatortest: starting %s from image %s: %v%s", p.name, p.image, err, said(c))
	}
	return c
}

func endpoint(ctx context.Context, t testing.TB, c testcontainers.Container, p part) string {
	t.Helper()
	host, err := c.PortEndpoint(ctx, p.port, "")
	if err != nil {
		t.Fatalf("rotatortest: %s has no address: %v", p.name, err)
	}
	return host
}

// said is the log of a container, for people.
func said(c testcontainers.Container) string {
	if c == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := c.Logs(ctx)
	if err != nil {
		return ""
	}
	defer func() { _ = r.Close() }()
	text, _ := io.ReadAll(io.LimitReader(r, 64<<10))
	return "\n" + string(text)
}

// rotator starts one replica and waits until it is ready.
func (s *Stack) rotator(ctx context.Context, name, bundles string) {
	s.t.Helper()
	config := `nats: {url: "nats://nats:4222"}
ops: {listen: "0.0.0.0:9180"}
log: {format: json}
vault: {address: "http://vault:8200", auth: {method: token, token_env: VAULT_TOKEN}, anchor: {role: rotator-anchor}}
openwhisk: {test: {apihost: "http://openwhisk:3233", namespace: guest, auth_env: OPENWHISK_KEY}}
bundles:
` + bundles + "\n"
	p := part{name: name, image: image("ROTATOR", "rotator"), port: "9180/tcp", env: map[string]string{"VAULT_TOKEN": vaultToken, "OPENWHISK_KEY": OpenWhiskKey},
		files: map[string]string{"/etc/rotator/rotator.yaml": config}, ready: wait.ForHTTP("/readyz").WithPort("9180/tcp").WithStartupTimeout(2 * time.Minute)}
	s.rotators = append(s.rotators, s.start(ctx, p))
}

// anchors makes the role whose tokens own what the rotator mints.
func (s *Stack) anchors(ctx context.Context) error {
	err := s.VaultAPI(ctx, http.MethodPut, "sys/policies/acl/rotator-mint", map[string]any{"policy": `path "*" { capabilities = ["create", "read", "update"] }`}, nil)
	if err != nil {
		return err
	}
	return s.VaultAPI(ctx, http.MethodPost, "auth/token/roles/rotator-anchor", map[string]any{"orphan": true, "renewable": true, "allowed_policies": "rotator-mint", "token_no_default_policy": true}, nil)
}

func engineAnswers() bool {
	kind, addr, ok := strings.Cut(cmp.Or(os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"), "://")
	if !ok {
		return false
	}
	conn, err := net.DialTimeout(kind, addr, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
