package service

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
)

// checkIntake looks whether what proves the messages of every source can be read, and whether their events will be believed.
func checkIntake(ctx context.Context, cfg *config.Config, report func(Finding)) {
	in := cfg.Intake
	if _, err := edgeTLS(in); err != nil {
		report(Finding{Subject: "intake", Text: err.Error(), Remedy: remedyOf(err, "set cert_file and key_file to a PEM certificate and its key")})
	}
	for _, s := range in.Sources {
		subject := "intake " + s.Name
		var problems []string
		if s.SecretFile != "" {
			if _, err := s.Secrets(); err != nil {
				problems = append(problems, err.Error())
			}
		}
		if s.APITokenFile != "" {
			if _, err := s.APIToken(); err != nil {
				problems = append(problems, err.Error())
			}
		}
		if err := reachable(ctx, s.Keys); err != nil {
			problems = append(problems, "its public keys cannot be read: "+err.Error())
		}
		for _, text := range problems {
			report(Finding{Subject: subject, Text: text, Remedy: "without it every message of this source is answered with 503"})
		}
		unlisted := checkSigning(cfg.Events, s.Name)
		if unlisted != "" {
			report(Finding{Subject: subject, Text: unlisted, Remedy: "every event of this source would be a dead letter: add the public key of events.sign_file to events.signers." + s.Name})
		}
		if len(problems) == 0 && unlisted == "" {
			report(Finding{OK: true, Subject: subject, Text: "kind " + s.Kind + ", at /v1/" + s.Name})
		}
	}
}

// checkSigning says why the signature of a source's events would not be believed, or "".
func checkSigning(e config.Events, source string) string {
	known, listed := e.Signers[source]
	if !listed || e.SignFile == "" { // without a file the configuration is refused
		return ""
	}
	seed, err := os.ReadFile(e.SignFile)
	if err != nil {
		return "events.sign_file cannot be read: " + err.Error()
	}
	defer clear(seed)
	key, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return "events.sign_file holds no nkey seed"
	}
	defer key.Wipe()
	if public, err := key.PublicKey(); err != nil || !slices.Contains(known.NKeys, public) {
		return "events.sign_file signs with a key that is not in events.signers." + source
	}
	return ""
}

// reachable reads public keys from a file or a URL, and keeps nothing.
func reachable(ctx context.Context, from string) error {
	switch {
	case from == "":
		return nil
	case !strings.Contains(from, "://"):
		_, err := os.ReadFile(from)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", req.URL.Host, res.StatusCode)
	}
	return nil
}
