package vaultsrc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// MarkerKey is the key inside a bundle's data that belongs to the rotator. It is never part of Bundle.Data.
const MarkerKey = "_rotator"

// A Bundle is one version of a KV v2 secret.
type Bundle struct {
	Version int
	Created time.Time
	Data    secret.Set
	Marker  []byte // raw JSON below MarkerKey; nil when there is none
}

// ReadBundle reads one version of the secret at path, which is "mount/path"; version 0 is the newest. The
// values keep the bytes and numbers that Vault answers. A deleted or destroyed version is ErrDeleted, and its number comes with it:
// a write over it has to name it.
func (c *Client) ReadBundle(ctx context.Context, path string, version int) (Bundle, error) {
	b, err := c.readBundle(ctx, path, version)
	if err != nil {
		return b, fmt.Errorf("reading bundle %q: %w", path, err)
	}
	return b, nil
}

func (c *Client) readBundle(ctx context.Context, path string, version int) (Bundle, error) {
	full, err := dataPath(path)
	if err != nil {
		return Bundle{}, err
	}
	r := request{path: full}
	if version > 0 {
		r.query = map[string][]string{"version": {strconv.Itoa(version)}}
	}
	raw, err := c.raw(ctx, r)
	if errors.Is(err, ErrNotFound) {
		if b, parseErr := parseBundle(raw); errors.Is(parseErr, ErrDeleted) { // a deleted version answers 404 too
			return b, parseErr
		}
		return Bundle{}, fmt.Errorf("%w: give the path as mount/path, without data/", err)
	}
	if err != nil {
		return Bundle{}, err
	}
	b, err := parseBundle(raw)
	if err == nil && version > 0 && b.Version != version {
		return Bundle{}, fmt.Errorf("%w: asked for version %d, got %d", ErrInvalid, version, b.Version)
	}
	return b, err
}

// parseBundle decodes the answer to a KV v2 read. Its errors name no byte of the input.
func parseBundle(raw []byte) (Bundle, error) {
	var in struct {
		Data *struct {
			Data     map[string]json.RawMessage `json:"data"`
			Metadata *struct {
				Version      int       `json:"version"`
				Created      time.Time `json:"created_time"`
				DeletionTime string    `json:"deletion_time"`
				Destroyed    bool      `json:"destroyed"`
			} `json:"metadata"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return Bundle{}, fmt.Errorf("%w: the answer is not understood (%d bytes)", ErrInvalid, len(raw))
	}
	if in.Data == nil || in.Data.Metadata == nil || in.Data.Metadata.Version < 1 {
		return Bundle{}, fmt.Errorf("%w: the answer has no version: is the mount KV version 2?", ErrInvalid)
	}
	meta := in.Data.Metadata
	if in.Data.Data == nil {
		how := "deleted: undelete it or write a new version"
		if meta.Destroyed {
			how = "destroyed: write a new version"
		}
		return Bundle{Version: meta.Version}, fmt.Errorf("%w: version %d is %s", ErrDeleted, meta.Version, how)
	}
	b := Bundle{Version: meta.Version, Created: meta.Created, Data: make(secret.Set, len(in.Data.Data))}
	for key, value := range in.Data.Data {
		if key == MarkerKey {
			b.Marker = value
			continue
		}
		v, err := secret.FromJSON(value)
		if err != nil {
			return Bundle{}, fmt.Errorf("key %q: %w", key, err)
		}
		b.Data[key] = v
	}
	return b, nil
}

// WriteBundle stores data and marker as the whole new version of the secret, if cas is still the newest version
// (0: the secret must not exist). It is sent once: ErrConflict means somebody else wrote, ErrUnknownOutcome that
// the answer was lost and the marker of the newest version tells.
func (c *Client) WriteBundle(ctx context.Context, path string, data secret.Set, marker []byte, cas int) (int, error) {
	version, err := c.writeBundle(ctx, path, data, marker, cas)
	if err != nil {
		return 0, fmt.Errorf("writing bundle %q over version %d: %w", path, cas, err)
	}
	return version, nil
}

func (c *Client) writeBundle(ctx context.Context, path string, data secret.Set, marker []byte, cas int) (int, error) {
	full, err := dataPath(path)
	if err != nil {
		return 0, err
	}
	body, err := encodeBundle(data, marker, cas)
	if err != nil {
		return 0, err
	}
	r, err := c.do(ctx, request{
		once: true, write: true, creates: cas == 0, path: full, body: body, values: slices.Collect(maps.Values(data)),
	})
	if err != nil {
		return 0, err
	}
	version := int(r.number("version"))
	if version != cas+1 && cas > 0 || version < 1 {
		return 0, fmt.Errorf("%w: Vault answers version %d", ErrUnknownOutcome, version)
	}
	return version, nil
}

func encodeBundle(data secret.Set, marker []byte, cas int) (json.RawMessage, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: refusing to write an empty bundle", ErrInvalid)
	}
	values := make(map[string]json.RawMessage, len(data)+1)
	for key, v := range data {
		if key == MarkerKey {
			return nil, fmt.Errorf("%w: key %q is reserved", ErrInvalid, MarkerKey)
		}
		if !survives(v) {
			return nil, fmt.Errorf("%w: key %q holds a number that Vault would round: store it as a text", ErrInvalid, key)
		}
		values[key] = v.Reveal()
	}
	if marker != nil {
		if !json.Valid(marker) {
			return nil, fmt.Errorf("%w: marker is not JSON", ErrInvalid)
		}
		values[MarkerKey] = bytes.Clone(marker)
	}
	return marshal(map[string]any{"options": map[string]any{"cas": cas}, "data": values})
}

// survives reports that v has no number that changes its value in Vault, whose KV engine keeps numbers as float64.
func survives(v secret.Value) bool {
	if raw := v.Reveal(); len(raw) > 0 && raw[0] == '"' {
		return true
	}
	var x any
	if json.Unmarshal(v.Reveal(), &x) != nil {
		return false
	}
	rounded, err := json.Marshal(x)
	if err != nil {
		return false
	}
	back, err := secret.FromJSON(rounded)
	return err == nil && back.Equal(v)
}

// dataPath turns "mount/path" into the API's "mount/data/path". The mount is the first segment.
func dataPath(path string) (string, error) {
	mount, rest, ok := strings.Cut(strings.Trim(path, "/"), "/")
	if !ok || mount == "" || rest == "" || strings.ContainsAny(path, "?#%") {
		return "", fmt.Errorf("%w: path must be mount/path of a KV v2 secret", ErrInvalid)
	}
	return mount + "/data/" + rest, nil
}
