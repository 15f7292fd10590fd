package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// A Finding is one thing that Check looked at.
type Finding struct {
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning,omitempty"` // works, but deserves a look
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Remedy  string `json:"remedy,omitempty"`
}

// checkTime bounds how long one system is waited for.
const checkTime = 10 * time.Second

// Check reaches for every system with the rights that the service will need, and says what it found through report,
// one finding at a time. It changes nothing, but creates streams that are missing.
func Check(ctx context.Context, cfg *config.Config, log zerolog.Logger, report func(Finding)) {
	checkNATS(ctx, cfg, log, report)
	checkIntake(ctx, cfg, report)
	vaultOK := checkVault(ctx, cfg, log, report)
	hostsOK := checkHosts(ctx, cfg, report)
	if vaultOK && hostsOK {
		checkBundles(ctx, cfg, log, report)
	}
}

func checkNATS(ctx context.Context, cfg *config.Config, log zerolog.Logger, report func(Finding)) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if cfg.NATS.URL == "" {
		report(embeddedNATS(ctx, cfg))
		return
	}
	nc, err := Dial(ctx, cfg, log)
	if err != nil {
		report(Finding{Subject: "nats", Text: err.Error(), Remedy: "check nats.url, the credentials file and the network"})
		return
	}
	defer nc.Close()
	if err := stream.Setup(ctx, nc, stream.SetupConfig{Replicas: cfg.NATS.Replicas, Log: log}); err != nil {
		report(Finding{Subject: "nats", Text: err.Error(), Remedy: "the rotator's user needs the JetStream API; see NATS permissions in the README"})
		return
	}
	report(Finding{OK: true, Subject: "nats", Text: "connected to " + nc.ConnectedServerName() + "; the streams are there"})
}

// embeddedNATS tells whether the embedded server could start here, or runs already.
func embeddedNATS(ctx context.Context, cfg *config.Config) Finding {
	if cfg.NATS.Listen == "" {
		return Finding{OK: true, Warning: true, Subject: "nats", Text: "embedded without a listener: emit, status and the other commands cannot reach it",
			Remedy: "set nats.listen, or leave it out"}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.NATS.Listen)
	if err == nil {
		_ = l.Close()
		if err = os.MkdirAll(cfg.Data, 0o700); err != nil {
			return Finding{Subject: "nats", Text: err.Error(), Remedy: "set data to a directory that this user may write"}
		}
		return Finding{OK: true, Subject: "nats", Text: "embedded, not running now; its data will be in " + cfg.Data}
	}
	if nc, derr := Dial(ctx, cfg, zerolog.Nop()); derr == nil {
		nc.Close()
		return Finding{OK: true, Subject: "nats", Text: "embedded, running on " + cfg.NATS.Listen}
	}
	return Finding{Subject: "nats", Text: fmt.Sprintf("%s is taken by something that is no NATS server", cfg.NATS.Listen), Remedy: "set nats.listen to a free address"}
}

// remedyOf prefers what a missing file asks for over the usual remedy.
func remedyOf(err error, usual string) string {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "create the file, make it readable for this user, or correct its path"
	}
	return usual
}

func checkVault(ctx context.Context, cfg *config.Config, log zerolog.Logger, report func(Finding)) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	client, err := Vault(ctx, cfg, log)
	if err == nil {
		err = client.Login(ctx)
	}
	if err != nil {
		report(Finding{Subject: "vault", Text: err.Error(), Remedy: remedyOf(err, "check vault.address and vault.auth; is Vault unsealed?")})
		return false
	}
	report(Finding{OK: true, Subject: "vault", Text: "logged in by " + cfg.Vault.Auth.Method})
	needs := rights(cfg)
	have, err := client.Capabilities(ctx, slices.Collect(maps.Keys(needs)))
	if err != nil {
		report(Finding{Subject: "vault", Text: "asking for capabilities: " + err.Error(), Remedy: "allow update on sys/capabilities-self"})
		return false
	}
	ok := true
	for _, p := range slices.Sorted(maps.Keys(needs)) {
		missing := lacking(needs[p], have[p])
		if len(missing) > 0 {
			report(Finding{Subject: "vault " + p, Text: "the rotator's token lacks " + strings.Join(missing, ", "),
				Remedy: fmt.Sprintf("add to its policy: path %q { capabilities = [%s]%s }", p, quoted(needs[p]), narrow(p))})
			ok = false
		}
	}
	if ok {
		report(Finding{OK: true, Subject: "vault", Text: fmt.Sprintf("has the rights it needs on %d paths", len(needs))})
	}
	checkPeople(ctx, cfg.People, client, report)
	return ok
}

// narrow is how much of a capability is needed, where the whole of it would be a way to any policy.
func narrow(path string) string {
	switch path {
	case "identity/entity/id/*":
		return ` allowed_parameters = { "disabled" = [true] }`
	case "identity/entity-alias":
		return ` allowed_parameters = { "name" = ["rotator-probe-*"], "canonical_id" = [], "mount_accessor" = ["ACCESSOR OF token/, see vault auth list"] }`
	}
	return ""
}

func quoted(ss []string) string { return `"` + strings.Join(ss, `", "`) + `"` }

func lacking(need, have []string) []string {
	if slices.Contains(have, "root") {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(need), func(c string) bool { return slices.Contains(have, c) })
}

// rights lists the capabilities that this configuration needs, by path.
func rights(cfg *config.Config) map[string][]string {
	out := make(map[string][]string)
	kv := func(secret string) string {
		mount, rest, _ := strings.Cut(secret, "/")
		return path.Join(mount, "data", rest)
	}
	out[kv(cfg.Vault.FingerprintKey)] = []string{"create", "read"}
	for _, b := range cfg.Bundles {
		out[kv(b.Secret)] = []string{"read", "update"}
		for _, c := range b.Credentials {
			switch {
			case c.Generate.PasswordPolicy != "":
				out["sys/policies/password/"+c.Generate.PasswordPolicy+"/generate"] = []string{"read"}
			case c.Generate.SecretID():
				out[c.Generate.Path] = []string{"list", "update"}
				out[c.Generate.Path+"-accessor/destroy"] = []string{"update"}
				out[c.Generate.Path+"-accessor/lookup"] = []string{"update"}
				out[c.Generate.Path+"/lookup"] = []string{"update"} // finds the handle of a secret-id that a person put there
			default:
				role := cfg.Vault.Anchor.Role
				if role == "" {
					role = vaultsrc.DefaultAnchorRole
				}
				out["auth/token/create/"+role] = []string{"update"}
				if strings.HasPrefix(c.Generate.Path, "auth/token/") {
					out["auth/token/lookup"] = []string{"update"}
				}
				out["auth/token/lookup-accessor"] = []string{"update"}
				out["auth/token/renew-accessor"] = []string{"update"}
				out["auth/token/revoke-accessor"] = []string{"update"}
				out["sys/leases/lookup"] = []string{"update"}
				out["sys/leases/lookup/"+c.Generate.Path+"/"] = []string{"list", "sudo"}
				out["sys/leases/renew"] = []string{"update"}
				out["sys/leases/revoke"] = []string{"update"}
			}
		}
	}
	maps.Copy(out, peopleRights(cfg.People))
	return out
}

// peopleRights are needed to ask Vault about persons, and to end their logins.
func peopleRights(p config.People) map[string][]string {
	out := make(map[string][]string)
	if len(p.Mounts) == 0 {
		return out
	}
	out["sys/auth"] = []string{"read"}
	out["identity/lookup/entity"] = []string{"update"}
	if p.ProbeRole != "" {
		out["identity/group/id/*"] = []string{"read"} // of who is disabled already
		out["identity/entity-alias"] = []string{"update"}
		out["identity/entity-alias/id/*"] = []string{"delete"}
		out["auth/token/create/"+p.ProbeRole] = []string{"update"}
		out["sys/capabilities-accessor"] = []string{"update"}
		out["auth/token/lookup-accessor"] = []string{"update"}
		out["auth/token/revoke-accessor"] = []string{"update"}
	}
	for _, m := range p.Mounts {
		if m.Login != "" {
			out[strings.ReplaceAll(m.Login, "{name}", "*")] = []string{"read"}
		}
	}
	if p.Disable {
		out["identity/entity/id/*"] = []string{"update"}
		out["auth/token/accessors"] = []string{"list", "sudo"}
		out["auth/token/lookup-accessor"] = []string{"update"}
		out["auth/token/revoke-accessor"] = []string{"update"}
	}
	return out
}

func checkHosts(ctx context.Context, cfg *config.Config, report func(Finding)) bool {
	ok := true
	for _, name := range slices.Sorted(maps.Keys(cfg.Hosts)) {
		h := cfg.Hosts[name]
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		client, err := Whisk(h)
		var namespaces []string
		if err == nil {
			namespaces, err = client.Namespaces(ctx)
		}
		cancel()
		if err != nil {
			ok = false
			report(Finding{Subject: "host " + name, Text: err.Error(), Remedy: remedyOf(err, "check apihost, and the key in auth_file or bearer_file")})
			continue
		}
		report(Finding{OK: true, Subject: "host " + name, Text: h.APIHost + " knows the key, namespace " + strings.Join(namespaces, ", ")})
	}
	return ok
}

// checkBundles plans every bundle: what a plan refuses, a rotation would.
func checkBundles(ctx context.Context, cfg *config.Config, log zerolog.Logger, report func(Finding)) {
	preview, err := Preview(ctx, cfg, log)
	if err != nil {
		report(Finding{Subject: "bundles", Text: err.Error(), Remedy: "correct the setting that the text names"})
		return
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Bundles)) {
		ctx, cancel := context.WithTimeout(ctx, 6*checkTime)
		plan, err := preview.Plan(ctx, name, events.KindLeak)
		cancel()
		switch {
		case err != nil:
			report(Finding{Subject: "bundle " + name, Text: err.Error(), Remedy: "see the finding of the system it names"})
		case len(plan.Refusals) > 0:
			for _, r := range plan.Refusals {
				subject := "bundle " + name
				if r.Target != nil {
					subject += ", " + r.Target.String()
				}
				report(Finding{Subject: subject, Text: r.Text, Remedy: r.Remedy})
			}
		default:
			report(Finding{OK: true, Subject: "bundle " + name, Text: fmt.Sprintf("KV version %d, %d targets can be rotated", plan.BaseVersion, len(plan.Targets))})
			for _, w := range plan.Warnings {
				report(Finding{OK: true, Warning: true, Subject: "bundle " + name, Text: w})
			}
		}
	}
}
