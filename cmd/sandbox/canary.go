package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
)

// A needle is a value that ever was a secret, with the name under which it may be reported.
type needle struct {
	name  string
	value []byte
}

// minNeedle keeps words such as "eu" from being searched for.
const minNeedle = 12

// nothingTold is P7: it looks for every value in everything that was written or printed.
func (s *sandbox) nothingTold(ctx context.Context) (check, error) {
	needles, err := s.needles(ctx)
	if err != nil {
		return check{}, err
	}
	places := map[string][]byte{"the log": s.logs.Bytes(), "what was printed": s.out.said.Bytes(), "journal and outcomes": bytes.Join(s.watch.stored(), []byte("\n"))}
	if places["rotator.yaml"], err = os.ReadFile(s.cfg.Path); err != nil {
		return check{}, err
	}
	files, size := 0, 0
	var store []byte
	err = filepath.WalkDir(s.cfg.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		files, size = files+1, size+len(raw)
		store = append(store, raw...)
		return err
	})
	if err != nil {
		return check{}, fmt.Errorf("reading the files of NATS: %w", err)
	}
	places["the files of NATS"] = store
	c := check{promise: "P7", text: fmt.Sprintf("%d secrets searched for in %d files of NATS (%d KB), journal, outcomes, log and output", len(needles), files, size>>10)}
	c.against = search(needles, places)
	if !bytes.Contains(store, []byte(eventSource)) || len(needles) < 10 {
		c.against = append(c.against, "the search is blind: it does not find the events in the files of NATS")
	}
	return c, nil
}

// search names every place that holds a secret in any usual spelling.
func search(needles []needle, places map[string][]byte) []string {
	var found []string
	for _, n := range needles {
		spellings := [][]byte{n.value, []byte(url.QueryEscape(string(n.value))), []byte(base64.RawStdEncoding.EncodeToString(n.value)),
			[]byte(base64.RawURLEncoding.EncodeToString(n.value)), []byte(hex.EncodeToString(n.value))}
		for place, text := range places {
			if slices.ContainsFunc(spellings, func(sp []byte) bool { return bytes.Contains(text, sp) }) {
				found = append(found, fmt.Sprintf("%s is in %s", n.name, place))
			}
		}
	}
	slices.Sort(found)
	return found
}

// needles collects every value that Vault and the OpenWhisk host ever held here.
func (s *sandbox) needles(ctx context.Context) ([]needle, error) {
	var out []needle
	add := func(name, value string) {
		if len(value) >= minNeedle && !slices.ContainsFunc(out, func(n needle) bool { return string(n.value) == value }) {
			out = append(out, needle{name, []byte(value)})
		}
	}
	for _, b := range s.shop.bundles {
		versions, err := s.vault.versions(ctx, b.name)
		if err != nil {
			return nil, err
		}
		for i, values := range versions {
			for key, value := range onlyTexts(values) {
				add(fmt.Sprintf("%s of bundle %s, version %d", key, b.name, i+1), value)
			}
		}
	}
	for _, t := range s.shop.targets {
		e, err := s.ow.get(ctx, t.Ref)
		if err != nil {
			return nil, err
		}
		for key, value := range texts(e.merged) {
			add(key+" of "+t.String(), value)
		}
	}
	add("the rotator's secret-id", s.vault.secretID)
	add("Vault's root token", s.vault.RootToken)
	if s.pg != nil {
		add("the password of PostgreSQL's superuser", s.pg.Password)
	}
	return out, nil
}
