package param

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// ErrMalformed says that a parameter list is not what the host accepts: [{"key":...,"value":...}, ...].
var ErrMalformed = errors.New("malformed parameter list")

// Parse reads the JSON array of a GET or PUT answer, as strictly as the host does. Of a repeated key the last
// entry wins, as on the host.
func Parse(raw []byte) (List, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: not valid JSON (%d bytes)", ErrMalformed, len(raw))
	}
	var items []json.RawMessage
	if trimmed := bytes.TrimSpace(raw); trimmed[0] != '[' || json.Unmarshal(trimmed, &items) != nil {
		return nil, fmt.Errorf("%w: want an array of {key, value} objects", ErrMalformed)
	}
	list := make(List, 0, len(items))
	at := make(map[string]int, len(items))
	for i, item := range items {
		e, err := parseEntry(item)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrMalformed, i, err)
		}
		if j, repeated := at[e.Key]; repeated {
			list[j] = e
			continue
		}
		at[e.Key] = len(list)
		list = append(list, e)
	}
	return list, nil
}

// parseEntry decodes into a map: encoding/json would match the fields of a struct without regard to case.
func parseEntry(raw json.RawMessage) (Entry, error) {
	var fields map[string]json.RawMessage
	if raw[0] != '{' || json.Unmarshal(raw, &fields) != nil {
		return Entry{}, errors.New("not an object")
	}
	var e Entry
	if !isString(fields["key"]) || json.Unmarshal(fields["key"], &e.Key) != nil {
		return Entry{}, errors.New("key is missing or not a string")
	}
	value, ok := fields["value"]
	if !ok {
		return Entry{}, fmt.Errorf("key %q has no value", e.Key)
	}
	if err := e.parseMarks(fields); err != nil {
		return Entry{}, fmt.Errorf("key %q: %w", e.Key, err)
	}
	var err error
	if e.Value, err = secret.FromJSON(value); err != nil {
		return Entry{}, fmt.Errorf("key %q: %w", e.Key, err)
	}
	return e, e.parseExtra(fields)
}

func (e *Entry) parseMarks(fields map[string]json.RawMessage) error {
	init, hasInit := fields["init"]
	switch {
	case !hasInit:
	case string(init) == "true", string(init) == "false":
		e.Init, e.wire.init = string(init) == "true", true
	default:
		return errors.New("init is not a boolean")
	}
	encryption, hasEncryption := fields["encryption"]
	switch {
	case !hasEncryption:
	case isString(encryption):
		if err := json.Unmarshal(encryption, &e.Encryption); err != nil {
			return errors.New("encryption is not a string")
		}
		e.wire.emptyEncryption = e.Encryption == ""
	case string(encryption) == "null" && hasInit:
		e.wire.nullEncryption = true
	default:
		return errors.New("encryption is not a string (null is only legal beside init)")
	}
	return nil
}

func (e *Entry) parseExtra(fields map[string]json.RawMessage) error {
	for name, raw := range fields {
		switch name {
		case "key", "value", "init", "encryption":
			continue
		}
		v, err := secret.FromJSON(raw)
		if err != nil {
			return fmt.Errorf("key %q: field %q: %w", e.Key, name, err)
		}
		if e.wire.extra == nil {
			e.wire.extra = make(secret.Set)
		}
		e.wire.extra[name] = v
	}
	return nil
}

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }
