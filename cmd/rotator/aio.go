package main

import (
	"fmt"
	"strings"
)

// ofAIO says what to do about a flag that "aio runtime action update" or "package update" has and these commands have not.
func ofAIO(name string) string {
	switch name {
	case "a", "annotation", "A", "annotation-file", "web", "web-secure", "kind", "t", "timeout", "m", "memory", "l", "logsize", "concurrency", "copy", "sequence",
		"docker", "main", "binary", "shared":
		return "it changes code, limits or annotations: give it to aio, without parameters, and the parameters to this command, which changes nothing else"
	case "u", "auth":
		return "a key does not belong on a command line: it comes from rotator.yaml, WHISK_AUTH, AIO_runtime_auth or .wskprops"
	case "apihost", "apiversion", "cert", "key":
		return "the host and how it is reached come from rotator.yaml, WHISK_*, AIO_runtime_* or .wskprops"
	case "i", "insecure":
		return "the host's certificate is always checked; a host in rotator.yaml may have ca_file, or insecure: true"
	case "json":
		return "write -o json"
	case "v", "verbose", "debug", "useragent", "version", "r", "use-runtime-auth":
		return "leave it out: there is nothing to choose here"
	}
	return ""
}

// remedyOfAIO explains a flag of aio where a flag of ours is expected.
func remedyOfAIO(word string, rest []string) string {
	name, value, attached := cutFlag(word)
	if !attached && len(rest) > 0 {
		value = rest[0]
	}
	if name == "c" && value != "" && strings.Trim(value, "0123456789") == "" { // no configuration file is called 200
		return "-c names the configuration file here; aio's -c is the concurrency of an action: " + ofAIO("concurrency")
	}
	if text := ofAIO(name); text != "" {
		return fmt.Sprintf("%s is a flag of aio: %s", dashed(name), text)
	}
	return ""
}

// dashed is a flag as it is written.
func dashed(name string) string { return strings.Repeat("-", min(2, len(name))) + name }
