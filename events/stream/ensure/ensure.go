// Package ensure creates JetStream streams and consumers or checks the existing ones.
//
// Guarantee: after nil the thing exists and behaves as asked in every way that the caller depends on. What an
// operator may tune (ages, sizes, more replicas) is left as found, and nothing that exists is ever changed, but for a
// largest message size where there was none: a difference that matters is an error naming the field and the command that
// repairs it. While JetStream is not
// available (no leader yet, not connected) it waits until ctx ends, and says so in the log.
package ensure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// A MismatchError says that something exists with a setting under which the rotator cannot keep its promises.
type MismatchError struct {
	Thing, Field, Have, Want, Remedy string
}

// Error names the field, both values and the remedy.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s has %s %s, but %s is needed; %s", e.Thing, e.Field, e.Have, e.Want, e.Remedy)
}

// Stream makes sure that a stream like want exists.
func Stream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, log zerolog.Logger) error {
	return Until(ctx, log, "preparing stream "+want.Name, func(ctx context.Context) error {
		st, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			st, err = js.CreateStream(ctx, want)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // a replica was faster
			st, err = js.Stream(ctx, want.Name)
		}
		if err != nil {
			return err
		}
		have := st.CachedInfo().Config
		if err := compareStream(want, have); err != nil {
			return err
		}
		bound(ctx, js, want, have, log)
		return nil
	})
}

// bound sets the largest size of a message where none was set. Without the right to it the stream works as before.
func bound(ctx context.Context, js jetstream.JetStream, want, have jetstream.StreamConfig, log zerolog.Logger) {
	if want.MaxMsgSize <= 0 || have.MaxMsgSize > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	have.MaxMsgSize = want.MaxMsgSize
	if _, err := js.UpdateStream(ctx, have); err != nil {
		log.Warn().Err(err).Str("stream", want.Name).Msgf("messages of any size are taken, so that one publisher can fill the stream quickly; run: nats stream edit %s --max-msg-size %d", want.Name, want.MaxMsgSize)
		return
	}
	log.Info().Str("stream", want.Name).Int32("bytes", want.MaxMsgSize).Msg("larger messages are refused from now on")
}

// Consumer makes sure that a durable consumer like want exists on the stream.
func Consumer(ctx context.Context, js jetstream.JetStream, stream string, want jetstream.ConsumerConfig, log zerolog.Logger) error {
	return Until(ctx, log, "preparing consumer "+want.Durable, func(ctx context.Context) error {
		c, err := js.Consumer(ctx, stream, want.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			c, err = js.CreateConsumer(ctx, stream, want)
		}
		if errors.Is(err, jetstream.ErrConsumerExists) {
			c, err = js.Consumer(ctx, stream, want.Durable)
		}
		if err != nil {
			return err
		}
		return compareConsumer(stream, want, c.CachedInfo().Config)
	})
}

// Until repeats do while JetStream is not available, until ctx ends; one attempt has 5 seconds. doing is what the error
// and the log say.
func Until(ctx context.Context, log zerolog.Logger, doing string, do func(context.Context) error) error {
	var said time.Time
	for {
		err := attempt(ctx, do)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !transient(err) {
			return fmt.Errorf("%s: %w", doing, err)
		}
		if time.Since(said) > 10*time.Second {
			log.Warn().Err(err).Str("what", doing).Msg("waiting for JetStream; is it enabled on the server, has the cluster a leader, and may this user use the JetStream API?")
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", doing, err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func attempt(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return do(ctx)
}

// transient tells the errors that time may cure. Of the server's own, time does not cure a store that is too small
// or a single server that is asked for replicas; but a cluster that lacks peers may be starting.
func transient(err error) bool {
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		const noPeers, noResources, noStorage, noCluster = 10005, 10023, 10047, 10074
		code := e.APIError().ErrorCode
		if code == jetstream.JSErrCodeConsumerDoesNotExist { // the answer while a deleted one is being closed
			return true
		}
		return code == noPeers || e.APIError().Code >= 500 && code != noResources && code != noStorage && code != noCluster
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, jetstream.ErrNoHeartbeat) || errors.Is(err, jetstream.ErrConsumerDeleted)
}
