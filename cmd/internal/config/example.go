package config

import _ "embed" // the example is a file of its own, so that editors check it

//go:embed example.yaml
var example string

// Example is a commented configuration that shows every key. It loads without a problem once VAULT_ADDR and the
// files it names are yours.
func Example() string { return example }
