package service

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/inputs"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
)

// hosts makes one whisk.Client per configured host into the platform the core writes to.
type hosts map[string]*host

var _ rotator.Platform = hosts(nil)

type host struct {
	client *whisk.Client
	config config.Host

	mu         sync.Mutex
	known      bool
	limits     rotator.Limits
	deprecated []string

	running running
}

// A Reach is what commands of people need of the hosts.
type Reach interface {
	rotator.Platform
	// Namespaces are the namespaces that the host's key opens.
	Namespaces(ctx context.Context, host string) ([]string, error)
	// Names lists the actions ("name", "package/name"), packages or triggers of a host.
	Names(ctx context.Context, host string, kind rotator.Kind) ([]string, error)
}

// Hosts makes configured hosts into a platform. Nothing is connected.
func Hosts(cfg map[string]config.Host) (Reach, error) { return openHosts(cfg) }

// AroundName is the name of the host that Around finds.
const AroundName = "host"

// Around is the host that wsk and aio would talk to: from the environment, from AIO_runtime_* in ./.env, or from ~/.wskprops.
func Around() (Reach, error) {
	file, err := dotenv(".env")
	if err != nil {
		return nil, err
	}
	hoisted := make(map[string]bool)
	p, err := whisk.Discover(func(name string) (string, bool) {
		if v := os.Getenv(name); v != "" {
			return v, true
		}
		v, ok := file[strings.ToLower(name)]
		hoisted[strings.ToLower(name)] = ok
		return v, ok
	}, os.ReadFile)
	if err != nil {
		return nil, fmt.Errorf("looking for a host: %w", err)
	}
	if hoisted["aio_runtime_apihost"] && !hoisted["aio_runtime_auth"] { // it may be anybody's directory
		return nil, errors.New("the file .env here names a host, and the key comes from elsewhere; it is not sent there: set AIO_runtime_apihost, or have AIO_runtime_auth in .env as well")
	}
	if _, ok := p.Auth.Text(); !ok || p.APIHost == "" {
		return nil, errors.New("no host and key found; write rotator.yaml, set WHISK_APIHOST and WHISK_AUTH (or AIO_runtime_apihost and AIO_runtime_auth, also in ./.env), or fill in ~/.wskprops")
	}
	c, err := whisk.New(whisk.Config{APIHost: p.APIHost, Namespace: p.Namespace, Auth: whisk.Basic(func(context.Context) (secret.Value, error) { return p.Auth, nil })})
	if err != nil {
		return nil, fmt.Errorf("preparing host %s: %w", p.APIHost, err)
	}
	return hosts{AroundName: {client: c, config: config.Host{APIHost: p.APIHost, HidesValues: config.HidesValues(p.APIHost)}}}, nil
}

// dotenv reads what aio would take from a .env file for its connection, by name in lower case, where the environment does not say
// it. A missing file is none.
func dotenv(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for a host, as aio does: %w", err)
	}
	out := make(map[string]string)
	for key, value := range inputs.Settings(raw) {
		name, ok := strings.CutPrefix(strings.ToLower(key), "aio_runtime_")
		if ok && os.Getenv("AIO_runtime_"+name) == "" && os.Getenv("AIO_RUNTIME_"+strings.ToUpper(name)) == "" {
			out["aio_runtime_"+name] = value
		}
	}
	return out, nil
}

// Namespaces asks the host.
func (hs hosts) Namespaces(ctx context.Context, name string) ([]string, error) {
	out, err := hs[name].client.Namespaces(ctx)
	return out, whiskError(err)
}

// Names asks the host for its list.
func (hs hosts) Names(ctx context.Context, name string, kind rotator.Kind) (out []string, err error) {
	rows, err := hs.list(ctx, name, kind)
	for _, row := range rows {
		out = append(out, row.Path())
	}
	slices.Sort(out)
	return out, whiskError(err)
}

// openHosts prepares a client for every host. Nothing is connected.
func openHosts(cfg map[string]config.Host) (hosts, error) {
	out := make(hosts)
	for name, h := range cfg {
		c, err := Whisk(h)
		if err != nil {
			return nil, fmt.Errorf("preparing host %s: %w", name, err)
		}
		out[name] = &host{client: c, config: h}
	}
	return out, nil
}

// Whisk makes the client for one configured host.
func Whisk(h config.Host) (*whisk.Client, error) {
	var pool *x509.CertPool
	if h.CAFile != "" {
		pem, err := os.ReadFile(h.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w", err)
		}
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", h.CAFile)
		}
	}
	return whisk.New(whisk.Config{APIHost: h.APIHost, Namespace: h.Namespace, Auth: authOf(h), Parallel: h.Parallel, Timeout: h.Timeout, RootCAs: pool, Insecure: h.Insecure})
}

// authOf reads the key or token anew for every request, so that a rotated file is picked up.
func authOf(h config.Host) whisk.Auth {
	read := func(context.Context) (secret.Value, error) {
		c, err := h.Credential(config.ThisMachine())
		return c.Text, err
	}
	if h.BearerFile != "" {
		return whisk.Bearer(read)
	}
	return whisk.Basic(read)
}

// whiskError translates the client's classes into what the core decides on.
func whiskError(err error) error {
	if err == nil {
		return nil
	}
	to := rotator.ErrUnknown
	switch whisk.Classify(err) {
	case whisk.OK:
		return nil
	case whisk.Permanent:
		to = rotator.ErrPermanent
	case whisk.NotFound:
		to = rotator.ErrNotFound
	case whisk.Conflict:
		to = rotator.ErrConflict
	case whisk.Throttled, whisk.Unavailable:
		to = rotator.ErrUnavailable
	case whisk.Unknown:
	}
	return fmt.Errorf("%w (%w)", err, to)
}

// Limits asks the host once: its largest parameter list, and which runtimes it no longer updates.
func (hs hosts) Limits(ctx context.Context, name string) (rotator.Limits, error) {
	h := hs[name]
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known {
		return h.limits, nil
	}
	l, err := h.client.Limits(ctx)
	if err != nil && whisk.Classify(err) != whisk.NotFound { // old hosts do not have the route
		return rotator.Limits{}, whiskError(err)
	}
	kinds, err := h.client.DeprecatedKinds(ctx)
	if err != nil && whisk.Classify(err) != whisk.NotFound {
		return rotator.Limits{}, whiskError(err)
	}
	h.limits = rotator.Limits{ParameterBytes: l.ParameterBytes, HidesValues: h.config.HidesValues, Parallel: h.config.Parallel}
	h.deprecated, h.known = kinds, true
	return h.limits, nil
}
