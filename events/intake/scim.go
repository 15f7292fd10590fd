package intake

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
)

// A user is what is kept of a person whom an identity system has told us of: enough to know whom an id stands for.
type user struct {
	ID         string  `json:"id"`
	UserName   string  `json:"userName"`
	ExternalID string  `json:"externalId,omitempty"`
	Active     bool    `json:"active"`
	Emails     []email `json:"emails,omitempty"`
}

type email struct {
	Value   string `json:"value"`
	Type    string `json:"type,omitempty"`
	Primary bool   `json:"primary,omitempty"`
}

const (
	scimType  = "application/scim+json"
	scimUsers = "urn:ietf:params:scim:schemas:core:2.0:User"
	scimList  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	scimError = "urn:ietf:params:scim:api:messages:2.0:Error"
	scimConf  = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
)

// scim is as much of a SCIM 2.0 server as an identity system needs to tell us who leaves: users, found by name or external id.
func (in *Intake) scim(w http.ResponseWriter, r *http.Request, s *source, rest string, body []byte) {
	head, id, _ := strings.Cut(strings.TrimPrefix(strings.Trim(rest, "/"), "v2/"), "/")
	switch {
	case head == "ServiceProviderConfig" && r.Method == http.MethodGet:
		writeSCIM(w, http.StatusOK, map[string]any{"schemas": []string{scimConf}, "patch": supported(true), "bulk": supported(false), "filter": map[string]any{"supported": true, "maxResults": 1},
			"changePassword": supported(false), "sort": supported(false), "etag": supported(false), "authenticationSchemes": []map[string]string{{"type": "oauthbearertoken", "name": "Bearer token"}}})
	case head != "Users":
		scimRefuse(w, http.StatusNotFound, "only Users are here")
	case id == "" && r.Method == http.MethodGet:
		in.scimFind(w, r, s)
	case id == "" && r.Method == http.MethodPost:
		in.scimCreate(w, r, s, body)
	case id != "":
		in.scimUser(w, r, s, id, body)
	default:
		scimRefuse(w, http.StatusMethodNotAllowed, "GET and POST are for users, PATCH, PUT and DELETE for one")
	}
}

func supported(yes bool) map[string]bool { return map[string]bool{"supported": yes} }

// scimUser answers for one user.
func (in *Intake) scimUser(w http.ResponseWriter, r *http.Request, s *source, id string, body []byte) {
	ctx := r.Context()
	u, known, err := in.user(ctx, s, id)
	if err != nil {
		in.scimFailed(w, s, errors.Join(errOurs, err))
		return
	}
	if r.Method == http.MethodGet {
		if !known {
			scimRefuse(w, http.StatusNotFound, "no such user")
			return
		}
		writeSCIM(w, http.StatusOK, u.resource())
		return
	}
	if r.Method != http.MethodPatch && r.Method != http.MethodPut && r.Method != http.MethodDelete {
		scimRefuse(w, http.StatusMethodNotAllowed, "a user is changed with PATCH, PUT or DELETE")
		return
	}
	in.scimChange(ctx, w, s, u, id, adapt.Native{Header: r.Header, Body: body, Received: in.Now().UTC(), Origin: s.Origin, Method: r.Method, Path: "/Users/" + id})
}

// scimChange changes a user. What takes somebody's access away is published before it is kept and answered.
func (in *Intake) scimChange(ctx context.Context, w http.ResponseWriter, s *source, u user, id string, native adapt.Native) {
	next, err := u.after(native.Method, id, native.Body)
	if err != nil {
		in.scimStrange(ctx, w, s, native, err)
		return
	}
	if native.Known, err = knownAs(u, next); err != nil {
		in.scimFailed(w, s, err)
		return
	}
	got, err := in.deliver(ctx, s, native, "")
	if err != nil {
		in.scimFailed(w, s, err)
		return
	}
	if got.strange() {
		scimRefuse(w, http.StatusBadRequest, got.Why)
		return
	}
	if len(got.Events) > 0 { // whoever has left is not active, however the request says it
		next.Active = false
	} else if u.Active && !next.Active {
		in.scimStrange(ctx, w, s, native, errors.New("it takes somebody's access away, and no event could be made of it"))
		return
	}
	if err := in.keep(ctx, s, u, next, native.Method == http.MethodDelete); err != nil {
		in.scimFailed(w, s, errors.Join(errOurs, err))
		return
	}
	if native.Method == http.MethodDelete {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeSCIM(w, http.StatusOK, next.resource())
}

// scimStrange keeps a change of a user that cannot be read: it may be somebody who leaves.
func (in *Intake) scimStrange(ctx context.Context, w http.ResponseWriter, s *source, native adapt.Native, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.times.publish)
	defer cancel()
	if !json.Valid(native.Body) {
		in.scimFailed(w, s, why)
		return
	}
	if err := in.bury(ctx, s, native, why); err != nil {
		in.scimFailed(w, s, err)
		return
	}
	scimRefuse(w, http.StatusBadRequest, why.Error())
}

// maxKnown is how many identifiers an event can have beside the SCIM one.
const maxKnown = 15

// knownAs is what is known of somebody before and after a change: the name may change in the same breath.
func knownAs(before, after user) (known []events.Identifier, err error) {
	for _, who := range []user{before, after} {
		raw, err := json.Marshal(who)
		if err != nil {
			return nil, err
		}
		ids, _, err := adapt.SCIMUser(raw)
		if err != nil {
			return nil, err
		}
		for _, one := range ids {
			if !contains(known, one) && len(known) < maxKnown {
				known = append(known, one)
			}
		}
	}
	return known, nil
}

// idKey names the key of seal among the people.
const idKey = "key of the ids of events"

// seal makes ids that nobody else can know beforehand, and that a second attempt finds again. The adapter makes them of the request,
// which others can guess; whoever may publish on NATS could use such an id up before the event comes.
func (in *Intake) seal(ctx context.Context, list []events.Event) error {
	if len(list) == 0 {
		return nil
	}
	key, err := in.People.Get(ctx, keyOf(idKey))
	if err == nil && key == nil {
		if err = in.People.Put(ctx, keyOf(idKey), []byte(rand.Text())); err == nil { // another replica may do the same: the last one counts
			key, err = in.People.Get(ctx, keyOf(idKey))
		}
	}
	if err != nil {
		return err
	}
	for i := range list {
		list[i].ID = hex.EncodeToString(mac(sha256.New, key, []byte(list[i].ID))[:16])
	}
	return nil
}

func contains[T comparable](list []T, one T) bool {
	for _, x := range list {
		if x == one {
			return true
		}
	}
	return false
}

// after is the user as a request leaves it.
func (u user) after(method, id string, body []byte) (user, error) {
	next := u
	next.ID = id
	switch method {
	case http.MethodPut:
		next = user{ID: id}
		return next, next.fill(body)
	case http.MethodPatch:
		var m struct {
			Operations []struct {
				Op, Path string
				Value    json.RawMessage
			}
		}
		if json.Unmarshal(body, &m) != nil {
			return next, errors.New("the request is no SCIM patch")
		}
		for _, op := range m.Operations {
			if verb := strings.ToLower(op.Op); verb == "replace" || verb == "add" {
				next.set(op.Path, op.Value)
			}
		}
	}
	return next, nil
}

// set changes one attribute, or all that an object without a path names. Others are not kept.
func (u *user) set(path string, value json.RawMessage) {
	var text string
	_ = json.Unmarshal(value, &text)
	core := strings.ToLower(scimUsers) // may stand before the name of an attribute, or be the name of all of them
	switch lower := strings.TrimPrefix(strings.ToLower(path), core+":"); {
	case lower == "", lower == core:
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) == nil {
			for name, v := range members {
				if name != "" && !(lower == core && strings.EqualFold(name, core)) {
					u.set(name, v)
				}
			}
		}
	case lower == "active":
		u.Active = !strings.EqualFold(strings.Trim(string(value), `"`), "false")
	case lower == "username" && text != "":
		u.UserName = text
	case lower == "externalid":
		u.ExternalID = text
	case lower == "emails":
		var list []email
		if json.Unmarshal(value, &list) == nil {
			u.Emails = list
		}
	case strings.HasPrefix(lower, "emails[") && text != "":
		u.Emails = []email{{Value: text, Primary: true}}
	}
}

// fill reads a whole resource.
func (u *user) fill(body []byte) error {
	_, active, err := adapt.SCIMUser(body) // as the adapter reads it
	if err != nil {
		return err
	}
	var m struct {
		UserName, ExternalID string
		Emails               []email
	}
	if json.Unmarshal(body, &m) != nil {
		return errors.New("the resource has another shape than expected")
	}
	u.UserName, u.ExternalID, u.Emails, u.Active = m.UserName, m.ExternalID, m.Emails[:min(len(m.Emails), 8)], active
	return nil
}

func (u user) resource() map[string]any {
	return map[string]any{"schemas": []string{scimUsers}, "id": u.ID, "userName": u.UserName, "externalId": u.ExternalID, "active": u.Active, "emails": u.Emails, "meta": map[string]string{"resourceType": "User"}}
}

func (in *Intake) scimCreate(w http.ResponseWriter, r *http.Request, s *source, body []byte) {
	u := user{ID: strings.ToLower(rand.Text())}
	if err := u.fill(body); err != nil {
		scimRefuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if u.UserName == "" {
		scimRefuse(w, http.StatusBadRequest, "userName is missing")
		return
	}
	found, err := in.People.Get(r.Context(), nameKey(s, "username", u.UserName))
	if err == nil && found != nil {
		scimRefuse(w, http.StatusConflict, "a user of this name is known already")
		return
	}
	if err == nil {
		err = in.keep(r.Context(), s, user{}, u, false)
	}
	if err != nil {
		in.scimFailed(w, s, errors.Join(errOurs, err))
		return
	}
	writeSCIM(w, http.StatusCreated, u.resource())
}

var filterPattern = regexp.MustCompile(`(?i)^\s*(userName|externalId)\s+eq\s+"((?:[^"\\]|\\.)*)"\s*$`)

// scimFind answers the one question that identity systems ask: is there a user of this name?
func (in *Intake) scimFind(w http.ResponseWriter, r *http.Request, s *source) {
	found := []map[string]any{}
	if filter := r.URL.Query().Get("filter"); filter != "" {
		m := filterPattern.FindStringSubmatch(filter)
		if m == nil {
			scimRefuse(w, http.StatusBadRequest, `filter has another form than userName eq "..."`)
			return
		}
		id, err := in.People.Get(r.Context(), nameKey(s, m[1], strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[2])))
		var u user
		known := false
		if err == nil && id != nil {
			u, known, err = in.user(r.Context(), s, string(id))
		}
		if err != nil {
			in.scimFailed(w, s, errors.Join(errOurs, err))
			return
		}
		if known {
			found = append(found, u.resource())
		}
	}
	writeSCIM(w, http.StatusOK, map[string]any{"schemas": []string{scimList}, "totalResults": len(found), "startIndex": 1, "itemsPerPage": len(found), "Resources": found})
}

func nameKey(s *source, attribute, name string) string {
	return keyOf("name", s.Name, strings.ToLower(attribute), strings.ToLower(name))
}

func (in *Intake) user(ctx context.Context, s *source, id string) (u user, known bool, err error) {
	raw, err := in.People.Get(ctx, keyOf("user", s.Name, id))
	if err != nil || raw == nil {
		return user{Active: true}, false, err
	}
	return u, true, json.Unmarshal(raw, &u)
}

// keep stores a user under the id and both names; who is deleted is forgotten.
func (in *Intake) keep(ctx context.Context, s *source, before, u user, gone bool) error {
	names := func(u user) (out []string) {
		if u.UserName != "" {
			out = append(out, nameKey(s, "username", u.UserName))
		}
		if u.ExternalID != "" {
			out = append(out, nameKey(s, "externalid", u.ExternalID))
		}
		return out
	}
	keep := names(u)
	if gone {
		keep = nil
	}
	for _, old := range names(before) {
		if !contains(keep, old) {
			if err := in.People.Delete(ctx, old); err != nil {
				return err
			}
		}
	}
	if gone {
		return in.People.Delete(ctx, keyOf("user", s.Name, u.ID))
	}
	raw, err := json.Marshal(u)
	if err != nil {
		return err
	}
	if err := in.People.Put(ctx, keyOf("user", s.Name, u.ID), raw); err != nil {
		return err
	}
	for _, name := range keep {
		if err := in.People.Put(ctx, name, []byte(u.ID)); err != nil {
			return err
		}
	}
	return nil
}

func (in *Intake) scimFailed(w http.ResponseWriter, s *source, err error) {
	if errors.Is(err, errOurs) {
		in.count(s, unavailable)
		in.Log.Error().Err(err).Str("source", s.Name).Msg("a SCIM request could not be taken now")
		w.Header().Set("Retry-After", "5")
		scimRefuse(w, http.StatusServiceUnavailable, "it could not be taken now")
		return
	}
	in.count(s, refused)
	in.Log.Warn().Err(err).Str("source", s.Name).Msg("a SCIM request is malformed")
	scimRefuse(w, http.StatusBadRequest, err.Error())
}

func scimRefuse(w http.ResponseWriter, status int, why string) {
	writeSCIM(w, status, map[string]any{"schemas": []string{scimError}, "status": strconv.Itoa(status), "detail": why})
}

func writeSCIM(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", scimType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
