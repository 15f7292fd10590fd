package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/openwhisk-rotator/rotator/rotator"
)

const parallelReads = 16

// List returns the newest value of every key. It sees everything that was acknowledged before the call, because the
// list of keys and every value come from the leader.
func (s *Store) List(ctx context.Context) (map[string]rotator.Stored, error) {
	keys, err := s.keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the journal: %w", err)
	}
	all := make(map[string]rotator.Stored, len(keys))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for _, key := range keys {
		g.Go(func() error {
			value, revision, err := s.Get(ctx, key)
			if errors.Is(err, rotator.ErrNotFound) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			all[key] = rotator.Stored{Value: value, Revision: revision}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

func (s *Store) keys(ctx context.Context) ([]string, error) {
	st, err := s.js.Stream(ctx, Stream)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rotator.ErrUnavailable, err)
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rotator.ErrUnavailable, err)
	}
	keys := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		key, err := decode(strings.TrimPrefix(subject, prefix))
		if err != nil { // written by somebody else: not a record of ours
			s.log.Warn().Str("subject", subject).Msg("ignoring a foreign key in the journal's bucket")
			continue
		}
		keys = append(keys, key)
	}
	return keys, nil
}
