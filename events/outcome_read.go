package events

import (
	"fmt"
	"math"
	"slices"
)

// DecodeOutcome reads what EncodeOutcome writes, and nothing else. There is no
// size limit of its own: an outcome lists every target the rotation touched.
func DecodeOutcome(body []byte) (Outcome, error) {
	n, problem := parseJSON(body)
	if problem == nil && n.kind != objectNode {
		problem = malformed("is not a JSON object")
	}
	if problem != nil {
		return Outcome{}, fmt.Errorf("decoding outcome: %w", refuse([]Problem{*problem}))
	}
	r := &reader{}
	out := r.outcomeEvent(r.object("", n))
	if err := refuse(r.problems); err != nil {
		return Outcome{}, fmt.Errorf("decoding outcome: %w", err)
	}
	return out, nil
}

func (r *reader) outcomeEvent(o *object) Outcome {
	if !r.attributesOfV1(o) {
		return Outcome{}
	}
	id := r.attribute(o, "id", true)
	o.text("source", true, textRule{enum: []string{outcomeSource}})
	o.text("type", true, textRule{enum: []string{outcomeType}})
	o.text("datacontenttype", false, textRule{enum: []string{"application/json"}})
	o.moment("time", true)
	data := o.sub("data", true)
	o.done()
	if data == nil {
		return Outcome{}
	}
	out := r.outcome(data)
	r.outcomeRules(out)
	if id != "" && id != out.Key() {
		r.invalid("id", "must be the rotation and the result")
	}
	return out
}

func (r *reader) outcome(o *object) Outcome {
	out := Outcome{
		Rotation:      o.text("rotation", false, textRule{}),
		Bundle:        o.text("bundle", false, textRule{}),
		Result:        o.text("result", false, textRule{}),
		Kind:          Kind(o.text("kind", false, textRule{})),
		Events:        o.texts("events"),
		KVVersionFrom: o.integer("kv_version_from", 0),
		KVVersionTo:   o.integer("kv_version_to", 0),
		Started:       o.moment("started", false),
		Finished:      o.moment("finished", false),
		Revoked:       o.moment("revoked", false),
		ProvenDead:    o.moment("proven_dead", false),
		Targets:       r.outcomeTargets(o),
		Reason:        o.text("reason", false, textRule{}),
		Remedy:        o.text("remedy", false, textRule{}),
		Warnings:      o.texts("warnings"),
		UpdatedMS:     o.integer("exposure_updated_ms", 0),
		DeadMS:        o.integer("exposure_dead_ms", 0),
		Receipt:       o.text("receipt", false, textRule{}),
		ReceiptHash:   o.text("receipt_hash", false, textRule{}),
	}
	o.done()
	return out
}

func (r *reader) outcomeTargets(parent *object) []OutcomeTarget {
	var out []OutcomeTarget
	for i, n := range parent.list("targets", false, 0, math.MaxInt) {
		o := r.object(fmt.Sprintf("%s[%d]", parent.at("targets"), i), n)
		if o == nil {
			continue
		}
		out = append(out, OutcomeTarget{
			Host:          o.text("host", true, textRule{}),
			Kind:          o.text("kind", true, textRule{}),
			Name:          o.text("name", true, textRule{}),
			VersionBefore: o.text("version_before", false, textRule{}),
			VersionAfter:  o.text("version_after", false, textRule{}),
			Failure:       o.text("failure", false, textRule{}),
		})
		o.done()
	}
	return out
}

// texts reads an array of strings.
func (o *object) texts(name string) []string {
	var out []string
	for i, n := range o.list(name, false, 0, math.MaxInt) {
		if n.kind != stringNode {
			o.r.invalid(fmt.Sprintf("%s[%d]", o.at(name), i), "must be a string")
			continue
		}
		out = append(out, n.text)
	}
	return out
}

// outcomeRules holds for an outcome on its way out and on its way in.
func (r *reader) outcomeRules(o Outcome) {
	if o.Rotation == "" {
		r.add(ReasonMissingField, "data.rotation", "is required", "")
	}
	results := []string{ResultRotated, ResultRolledBack, ResultRefused, ResultQuarantined, ResultContained, ResultDelayed, ResultContaining,
		ResultReapplied, ResultOrphaned, ResultDrifted, ResultReported, ResultHeld}
	if !slices.Contains(results, o.Result) {
		r.invalid("data.result", "must be a known result")
	}
	if o.Kind != "" && o.Kind.Type() == "" {
		r.invalid("data.kind", "must be a known kind")
	}
}
