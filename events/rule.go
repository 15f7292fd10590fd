package events

import (
	"cmp"
	"math"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The patterns are the ones in the JSON Schemas.
var (
	acctPattern        = regexp.MustCompile(`^acct:`)
	actionPattern      = regexp.MustCompile(`^/[^/]+(/[^/]+){1,2}$`)
	fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{40,64}$`)
	systemPattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	momentPattern      = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)
	publisherPattern   = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	extensionPattern   = regexp.MustCompile(`^[a-z0-9]+$`)
	sourcePattern      = regexp.MustCompile(`^[!#$%&'()*+,./0-9:;=?@A-Z_a-z~\[\]-]+$`)
	traceparentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

const momentLooks = "an RFC 3339 time with a zone, like 2026-01-02T15:04:05Z"

func severities() []string {
	return []string{"critical", "high", "medium", "low", "info"}
}

// parseMoment reads RFC 3339 as the schemas do: small t and z, and the leap second, are fine.
func parseMoment(s string) (time.Time, bool) {
	s = strings.ToUpper(s)
	leap := s[17:19] == "60"
	if leap {
		s = s[:17] + "59" + s[19:]
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, false
	}
	t = t.UTC()
	if leap {
		if t.Hour() != 23 || t.Minute() != 59 {
			return time.Time{}, false
		}
		t = t.Add(time.Second)
	}
	// Outside these years the time cannot be written back as RFC 3339.
	return t, t.Year() >= 0 && t.Year() <= 9999
}

// absoluteURL says whether s is a URI with a scheme, as "format": "uri" asks.
func absoluteURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() {
		return false
	}
	if host := u.Hostname(); strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Is6() && strings.Contains(u.Host, "[")
	}
	return true
}

// wholeNumber accepts 1.0 and 1e2 as JSON Schema does, up to what a float holds exactly.
func wholeNumber(n node) (int, bool) {
	if n.kind != numberNode {
		return 0, false
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(n.text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	exponent, err := strconv.Atoi(cmp.Or(power, "0"))
	if strings.Trim(digits, "-0") == "" {
		return 0, true
	}
	zeros := len(digits) - len(strings.TrimRight(digits, "0"))
	if err != nil || len(fraction)-exponent > zeros {
		return 0, false
	}
	f, err := strconv.ParseFloat(n.text, 64)
	if err != nil || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}
