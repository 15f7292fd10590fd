package ensure

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func compareStream(want, have jetstream.StreamConfig) error {
	edit := func(flag string) string { return fmt.Sprintf("run: nats stream edit %s %s", want.Name, flag) }
	again := "keep what it holds (nats stream backup), remove it, and let the rotator create it"
	rules := []struct {
		bad                       bool
		field, have, want, remedy string
	}{
		{have.Storage != want.Storage, "storage", have.Storage.String(), want.Storage.String(), again},
		{have.Retention != want.Retention, "retention", have.Retention.String(), want.Retention.String(), again},
		{!sameSet(have.Subjects, want.Subjects), "subjects", list(have.Subjects), list(want.Subjects), edit("--subjects " + strings.Join(want.Subjects, ","))},
		{have.Replicas < want.Replicas, "replicas", fmt.Sprint(have.Replicas), fmt.Sprint(want.Replicas), edit(fmt.Sprintf("--replicas %d", want.Replicas)) + ", or set nats.replicas to " + fmt.Sprint(have.Replicas)},
		{want.Discard == jetstream.DiscardNew && have.Discard != want.Discard, "discard policy", have.Discard.String(), want.Discard.String(), edit("--discard new")},
		{have.Duplicates < want.Duplicates, "duplicate window", have.Duplicates.String(), want.Duplicates.String(), edit("--dupe-window " + want.Duplicates.String())},
		{have.AllowDirect && !want.AllowDirect, "direct get", "on", "off", edit("--no-allow-direct")},
		{want.DenyPurge && !have.DenyPurge, "deny purge", "off", "on", again},
		{have.DenyDelete && !want.DenyDelete, "deny delete", "on", "off", again},
		{want.DenyDelete && !have.DenyDelete, "deny delete", "off", "on", again},
		{transform(have) != transform(want), "subject transform", transform(have), transform(want), again},
		{have.Sealed, "sealed", "on", "off", again},
		{have.NoAck, "acknowledgements", "off", "on", edit("--ack")},
	}
	for _, r := range rules {
		if r.bad {
			return &MismatchError{"stream " + want.Name, r.field, r.have, r.want, r.remedy}
		}
	}
	return nil
}

func compareConsumer(stream string, want, have jetstream.ConsumerConfig) error {
	remedy := fmt.Sprintf("run: nats consumer rm %s %s, and restart; events that wait are seen again", stream, want.Durable)
	rules := []struct {
		bad               bool
		field, have, want string
	}{
		{!sameSet(filters(have), filters(want)), "filter", list(filters(have)), list(filters(want))},
		{have.AckPolicy != want.AckPolicy, "ack policy", have.AckPolicy.String(), want.AckPolicy.String()},
		{have.DeliverSubject != "", "delivery", "push", "pull"},
		{have.MaxDeliver > 0, "max deliver", fmt.Sprint(have.MaxDeliver), "-1"},
		{have.DeliverPolicy != want.DeliverPolicy, "deliver policy", have.DeliverPolicy.String(), want.DeliverPolicy.String()},
		{len(have.BackOff) > 0, "backoff", fmt.Sprint(have.BackOff), "none"},
		{have.HeadersOnly, "headers only", "on", "off"},
		{have.PauseUntil != nil && have.PauseUntil.After(time.Now()), "pause until", fmt.Sprint(have.PauseUntil), "not paused"},
	}
	for _, r := range rules {
		if r.bad {
			return &MismatchError{"consumer " + want.Durable, r.field, r.have, r.want, remedy}
		}
	}
	return nil
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func transform(c jetstream.StreamConfig) string {
	if c.SubjectTransform == nil {
		return "none"
	}
	return c.SubjectTransform.Source + " -> " + c.SubjectTransform.Destination
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func list(s []string) string { return "[" + strings.Join(s, " ") + "]" }
