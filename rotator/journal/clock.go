package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// Clock tells how far this machine's clock is ahead of that of the server which leads the journal's stream. What the way there
// and back took cannot be told apart from an offset, so it counts as none.
func (s *Store) Clock(ctx context.Context) (time.Duration, error) {
	sent := time.Now()
	st, err := s.js.Stream(ctx, Stream)
	if err != nil {
		return 0, fmt.Errorf("asking the leader of stream %s for its time: %w: %w", Stream, rotator.ErrUnavailable, err)
	}
	took := time.Since(sent)
	server := st.CachedInfo().TimeStamp
	if server.IsZero() {
		return 0, fmt.Errorf("stream %s tells no time: %w", Stream, rotator.ErrUnavailable)
	}
	offset := sent.Add(took / 2).Round(0).Sub(server)
	switch {
	case offset > took/2:
		return offset - took/2, nil
	case offset < -took/2:
		return offset + took/2, nil
	}
	return 0, nil
}
