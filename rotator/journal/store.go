package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// Get returns the newest value of key and its revision, as the leader knows it.
func (s *Store) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	m, err := s.last(ctx, key)
	if err == nil && m.removed() {
		err = rotator.ErrNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading journal record %q: %w", key, err)
	}
	return m.Data, m.Seq, nil
}

// Put stores value as the successor of revision; 0 means that there is no value yet. It returns the new revision.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	seq, err := s.put(ctx, key, value, revision)
	for range raceTries {
		if !errors.Is(err, errRace) || !wait(ctx, racePause) {
			break
		}
		seq, err = s.put(ctx, key, value, revision)
	}
	if revision == 0 && errors.Is(err, rotator.ErrConflict) {
		// A person may have deleted the value: then its place is taken by a marker, which has a revision.
		if m, merr := s.last(ctx, key); merr == nil && m.removed() {
			seq, err = s.put(ctx, key, value, m.Seq)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("writing journal record %q: %w", key, err)
	}
	return seq, nil
}

func (s *Store) put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if key == "" {
		return 0, errKey
	}
	m := &nats.Msg{Subject: prefix + encode(key), Data: value, Header: nats.Header{}}
	m.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(revision, 10))
	answer, err := s.request(ctx, m, rotator.ErrUnknown)
	if err != nil {
		return 0, err
	}
	var r struct {
		Stream string    `json:"stream"`
		Seq    uint64    `json:"seq"`
		Error  *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &r); err != nil || r.Error == nil && (r.Stream != Stream || r.Seq == 0) {
		return 0, fmt.Errorf("%w: unreadable answer from NATS", rotator.ErrUnknown)
	}
	switch {
	case r.Error == nil:
		return r.Seq, nil
	case r.Error.ErrCode == codeWrongSequence:
		return 0, fmt.Errorf("%w: %w", rotator.ErrConflict, r.Error)
	case r.Error.ErrCode == codeTooLarge:
		return 0, fmt.Errorf("%w: a record of %d bytes: %w", rotator.ErrTooLarge, len(value), r.Error)
	case r.Error.ErrCode == codeRace:
		return 0, fmt.Errorf("%w: %w: %w", rotator.ErrConflict, errRace, r.Error)
	default:
		return 0, fmt.Errorf("%w: %w", rotator.ErrUnavailable, r.Error)
	}
}

// Forget purges the values of key up to revision. A newer one stays.
func (s *Store) Forget(ctx context.Context, key string, revision uint64) error {
	st, err := s.js.Stream(ctx, Stream)
	if err == nil {
		err = st.Purge(ctx, jetstream.WithPurgeSubject(prefix+encode(key)), jetstream.WithPurgeSequence(revision+1))
	}
	if err != nil {
		return fmt.Errorf("forgetting journal record %q: %w: %w", key, rotator.ErrUnavailable, err)
	}
	return nil
}

// History returns the kept values of key, oldest first, for people to look at.
func (s *Store) History(ctx context.Context, key string) ([]rotator.Stored, error) {
	var all []rotator.Stored
	for from := uint64(1); ; {
		m, err := s.read(ctx, struct {
			Seq  uint64 `json:"seq"`
			Next string `json:"next_by_subj"`
		}{from, prefix + encode(key)})
		if errors.Is(err, rotator.ErrNotFound) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the history of journal record %q: %w", key, err)
		}
		if !m.removed() {
			all = append(all, rotator.Stored{Value: m.Data, Revision: m.Seq})
		}
		from = m.Seq + 1
	}
}

func (s *Store) last(ctx context.Context, key string) (message, error) {
	if key == "" {
		return message{}, errKey
	}
	return s.read(ctx, struct {
		Last string `json:"last_by_subj"`
	}{prefix + encode(key)})
}

// removed reports a marker that a key-value tool leaves when a person deletes or purges a key.
func (m message) removed() bool {
	return bytes.Contains(m.Header, []byte("KV-Operation:")) || bytes.Contains(m.Header, []byte("Nats-Marker-Reason:"))
}
