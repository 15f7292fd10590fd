package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
)

// entityName takes the forms that wsk and aio take: name, package/name, /_/name, /namespace/package/name.
func entityName(text string, kind rotator.Kind) (ns, name string, err error) {
	name = text
	if strings.HasPrefix(name, "/") {
		ns, name, _ = strings.Cut(name[1:], "/")
		if ns == "" {
			name = ""
		}
	}
	parts := strings.Split(name, "/")
	switch {
	case strings.Contains(text, "="):
		return "", "", errors.New("the name holds a =; parameters are given as: -p KEY VALUE")
	case len(parts) > 2 || kind == rotator.Package && len(parts) > 1 || slices.Contains(parts, ""):
		return "", "", fmt.Errorf("%q is no name of %s; write NAME%s", text, article(kind), map[rotator.Kind]string{rotator.Action: " or PACKAGE/NAME"}[kind])
	}
	return ns, name, nil
}

// ownNamespace refuses the name of another namespace than the one that the key opens.
func ownNamespace(ctx context.Context, r service.Reach, host, ns string) error {
	if ns == "" || ns == "_" {
		return nil
	}
	own, err := r.Namespaces(ctx, host)
	if err != nil {
		return answered(err)
	}
	if !slices.Contains(own, ns) {
		return coded(exitUsage, fmt.Errorf("the key opens namespace %s, not %s; leave the namespace out, or use that namespace's key", strings.Join(own, ", "), ns))
	}
	return nil
}

// configuration is nil when there is no file and nobody asked for one.
func (u *update) configuration(cmd *cobra.Command) (*config.Config, error) {
	if _, err := os.Stat(u.config); errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
		return nil, nil
	}
	return u.load(cmd)
}

func (u *update) platform(cfg *config.Config) (r service.Reach, host string, err error) {
	if cfg == nil && u.host != "" {
		return nil, "", fmt.Errorf("--host names a host of the configuration, and there is no %s here; name it with -c, or leave --host out for the host of WHISK_*, AIO_runtime_* or ~/.wskprops", u.config)
	}
	if cfg == nil {
		r, err := service.Around()
		return r, service.AroundName, err
	}
	names := slices.Sorted(maps.Keys(cfg.Hosts))
	host = u.host
	if host == "" && len(names) == 1 {
		host = names[0]
	}
	h, ok := cfg.Hosts[host]
	if !ok {
		return nil, "", fmt.Errorf("name one of the configured hosts with --host: %s", strings.Join(names, ", "))
	}
	r, err = service.Hosts(map[string]config.Host{host: h})
	return r, host, err
}

// answered decides the exit code of what another system has answered, and says what to look at.
func answered(err error) error {
	said, _ := errors.AsType[*whisk.Error](err)
	switch {
	case said != nil && said.Status == http.StatusUnauthorized:
		err = fmt.Errorf("%w; the host does not know this key: look at WHISK_AUTH, AIO_runtime_auth, .wskprops or auth_file, and at the host", err)
	case said != nil && said.Status == http.StatusForbidden:
		err = fmt.Errorf("%w; the host knows the key, and it may not do this", err)
	}
	if errors.Is(err, rotator.ErrPermanent) {
		return coded(exitFailed, err)
	}
	return remote(err)
}

// completeHosts offers the hosts of the configuration.
func (g *globals) completeHosts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	cfg, err := config.Load(g.config, config.ThisMachine())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(cfg.Hosts)), cobra.ShellCompDirectiveNoFileComp
}

// completeNames offers what the host lists, if it answers soon.
func (u *update) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	cfg, err := config.Load(u.config, config.ThisMachine())
	if err != nil {
		cfg = nil
	}
	r, host, err := u.platform(cfg)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
	defer cancel()
	names, _ := r.Names(ctx, host, u.kind) // what there is
	return names, cobra.ShellCompDirectiveNoFileComp
}
