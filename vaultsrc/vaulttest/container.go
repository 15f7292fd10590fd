package vaulttest

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// DefaultImage is the container image of Vault unless ROTATOR_TEST_IMAGE_VAULT names another.
const DefaultImage = "hashicorp/vault:1.21"

// engineAnswers reports whether something listens where a Docker engine would.
func engineAnswers(ctx context.Context) bool {
	network, addr, ok := strings.Cut(cmp.Or(os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"), "://")
	if !ok || network != "unix" && network != "tcp" {
		return false
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func startContainer(ctx context.Context, opts Options) (*Server, error) {
	image := cmp.Or(os.Getenv("ROTATOR_TEST_IMAGE_VAULT"), DefaultImage)
	opts.Progress("starting a container of " + image)
	s := &Server{RootToken: "root-" + rand.Text(), opts: opts}
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        image,
			ExposedPorts: []string{"8200/tcp"},
			Env: map[string]string{
				"VAULT_DEV_ROOT_TOKEN_ID": s.RootToken, "VAULT_DEV_LISTEN_ADDRESS": "0.0.0.0:8200", "SKIP_SETCAP": "true",
			},
			WaitingFor: wait.ForHTTP("/v1/sys/health").WithPort("8200/tcp"),
		},
	})
	if c != nil {
		s.stopMore = func() { _ = testcontainers.TerminateContainer(c) }
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting a container of %s: %w", image, err)
	}
	if s.Address, err = c.PortEndpoint(ctx, "8200/tcp", "http"); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting a container of %s: %w", image, err)
	}
	return s, s.await(ctx, http.StatusOK)
}
