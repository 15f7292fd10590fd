package intake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
)

// errOurs says that it is not the sender's fault, and that the same message may be sent again.
var errOurs = errors.New("it could not be taken now")

// deliver publishes what a message says, everything before it returns; what of it is not understood becomes a dead letter. replay names
// the message among those that were taken before. A failure that is not errOurs is a message that is no JSON at all.
func (in *Intake) deliver(ctx context.Context, s *source, native adapt.Native, replay string) (taken, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.times.publish)
	defer cancel()
	if again, err := in.before(ctx, s, replay, native.Received); err != nil || again {
		return taken{Events: []string{}, Seen: again}, err
	}
	ask, done := ctx, func() {}
	if s.Kind == "github" {
		ask, done = context.WithTimeout(ctx, in.times.ask)
	}
	defer done()
	var err error
	if native.Hash, err = in.hash(ask, s, native.Body); err != nil {
		return taken{}, errors.Join(errOurs, err)
	}
	got, bad := read(s, native)
	if bad != nil && !json.Valid(native.Body) {
		return taken{}, bad
	}
	if s.Kind == "scim" {
		if err := in.seal(ctx, got.Events); err != nil {
			return taken{}, errors.Join(errOurs, err)
		}
	}
	out := taken{Events: []string{}}
	for _, e := range got.Events {
		e.Publisher = s.Name
		in.complete(ask, s, native, &e)
		if err := in.Publish(ctx, e); err != nil {
			return taken{}, errors.Join(errOurs, err)
		}
		in.count(s, published)
		in.Log.Info().Str("source", s.Name).Str("event", e.ID).Str("kind", string(e.Kind)).Msg("a message became an event")
		out.Events = append(out.Events, e.ID)
	}
	for _, one := range got.Ignored {
		out.Ignored = append(out.Ignored, one.Why)
		in.count(s, ignoredOnPurpose)
		level := zerolog.InfoLevel
		if one.Alarm {
			level = zerolog.ErrorLevel
		}
		in.Log.WithLevel(level).Str("source", s.Name).Str("because", one.Why).Msg("a message rotates nothing")
	}
	if bad = cmp.Or(bad, got.Err()); bad != nil {
		if err := in.bury(ctx, s, native, bad); err != nil {
			return taken{}, err
		}
		out.Kept, out.Why = true, bad.Error()
	}
	in.remember(ctx, replay, native.Received)
	return out, nil
}

// needsHash reports whether there may be a raw value. Without one Vault, where the key is, may be away.
func (in *Intake) needsHash(s *source, body []byte) bool {
	if in.Hash == nil || s.Kind != "github" {
		return in.Hash != nil && s.hash
	}
	_, raw := events.RawSecret(body)
	return raw || s.FetchToken != nil
}

// hash is what makes fingerprints, or nil. GitHub does not send an alert again: without the key it becomes an event all the same, and a
// rule of the configuration may know whom it concerns.
func (in *Intake) hash(ctx context.Context, s *source, body []byte) (func(string) events.Fingerprint, error) {
	if !in.needsHash(s, body) {
		return nil, nil
	}
	type answer struct {
		hash func(string) events.Fingerprint
		err  error
	}
	got, key := make(chan answer, 1), in.Hash
	go func() { // others may be waiting for the key, for longer than we do
		hash, err := key(ctx)
		got <- answer{hash, err}
	}()
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	if a.err != nil && s.Kind == "github" {
		in.Log.Error().Err(a.err).Str("source", s.Name).Msg("the fingerprint key cannot be read; the alert goes on without a fingerprint")
		return nil, nil
	}
	return a.hash, a.err
}

// read turns a message into events: of kind events it is one already.
func read(s *source, native adapt.Native) (adapt.Result, error) {
	if s.Kind == "events" {
		e, err := events.DecodeFile(native.Body, native.Received)
		if err != nil {
			return adapt.Result{}, err
		}
		return adapt.Result{Events: []events.Event{e}}, nil
	}
	return adapt.Message(s.kind.message, native)
}

// before reports whether the same bytes were taken not long ago.
func (in *Intake) before(ctx context.Context, s *source, replay string, now time.Time) (bool, error) {
	if replay == "" {
		return false, nil
	}
	raw, err := in.Seen.Get(ctx, replay)
	if err != nil {
		return false, errors.Join(errOurs, err)
	}
	var at time.Time
	return raw != nil && at.UnmarshalText(raw) == nil && now.Sub(at) < s.replayTime(), nil
}

// remember keeps a delivery. If that fails the same bytes may be published again, which is harmless within a day.
func (in *Intake) remember(ctx context.Context, replay string, now time.Time) {
	if replay == "" {
		return
	}
	raw, err := now.MarshalText()
	if err == nil {
		err = in.Seen.Put(ctx, replay, raw)
	}
	if err != nil {
		in.Log.Warn().Err(err).Msg("a delivery could not be remembered")
	}
}

// bury keeps an authentic message that is not understood, without its body if that holds a secret.
func (in *Intake) bury(ctx context.Context, s *source, native adapt.Native, why error) error {
	l := Letter{Source: s.Name, Why: why.Error(), Body: slices.Clone(native.Body), Size: len(native.Body)}
	if native.Path != "" { // nothing else says whom a SCIM request is about
		l.Why = native.Method + " " + short(native.Path, 256) + ": " + l.Why
	}
	if _, secret := events.RawSecret(l.Body); secret || s.hash {
		l.Body = nil
	}
	if err := in.Bury(ctx, l); err != nil {
		return errors.Join(errOurs, err)
	}
	in.count(s, kept)
	in.Log.Warn().Str("source", s.Name).Str("reason", l.Why).Msg("an authentic message was not understood; it is among the dead letters")
	return nil
}
