package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// write is the answer for people: what is affected first, what is not known last.
func (a affected) write(w io.Writer) {
	for _, why := range a.Ignored {
		fmt.Fprintf(w, "The message rotates nothing: %s\n", why)
	}
	for _, v := range a.Verdicts {
		v.write(w)
	}
	a.writeBundles(w)
	a.writePerson(w)
	a.writePlaces(w)
	for _, note := range a.Notes {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
	if len(a.Incomplete) > 0 {
		fmt.Fprintln(w, "\nNot asked:")
		for _, text := range a.Incomplete {
			fmt.Fprintf(w, "  %s\n", text)
		}
	}
	if len(a.Incomplete)+len(a.Unread)+len(a.Hidden) > 0 {
		fmt.Fprintln(w, "\nThis answer is INCOMPLETE: there may be more.")
	}
}

func (a affected) writeBundles(w io.Writer) {
	if len(a.Bundles) == 0 {
		fmt.Fprintln(w, "No bundle is affected.")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "BUNDLE\tEVIDENCE\tTARGETS")
	for _, b := range a.Bundles {
		name, evidence := b.Bundle, b.Evidence
		for _, t := range b.Targets {
			fmt.Fprintf(tw, "%s\t%s\t%s\n", name, evidence, t)
			name, evidence = "", ""
		}
	}
	_ = tw.Flush()
	for _, b := range a.Bundles {
		for _, text := range b.Careful {
			fmt.Fprintf(w, "CAREFUL: %s: %s\n", b.Bundle, text)
		}
	}
}

func (a affected) writePerson(w io.Writer) {
	for _, k := range a.Person {
		state := "entity " + k.Entity + ", may log in"
		switch {
		case k.ID == "":
			state = "has never logged in"
		case k.Disabled:
			state = "entity " + k.Entity + ", disabled"
		}
		fmt.Fprintf(w, "Vault knows %s: %s\n", k, state)
	}
	if len(a.Mounts) > 0 && len(a.Person)+len(a.Incomplete) == 0 {
		fmt.Fprintf(w, "Vault knows nobody of this name on %s: is it written as there?\n", strings.Join(a.Mounts, ", "))
	}
}

func (a affected) writePlaces(w io.Writer) {
	if a.Searched > 0 {
		fmt.Fprintf(w, "\nThe value is in %d places of %d actions, packages, bindings and triggers\n", len(a.Places), a.Searched)
	}
	for _, p := range a.Places {
		remedy := p.Remedy()
		if others := slices.DeleteFunc(slices.Clone(p.ReplacedBy), a.rotated); len(p.ReplacedBy) > 0 && len(others) == len(p.ReplacedBy) {
			remedy += ", which this does not cause: rotator emit manual --bundle " + others[0]
		}
		fmt.Fprintf(w, "  %s; %s\n", p, remedy)
	}
	for _, h := range a.Hidden {
		fmt.Fprintf(w, "  %s\n", h)
	}
	for i, text := range a.Unread {
		if i == 20 {
			fmt.Fprintf(w, "  and %d more could not be read; see -o json\n", len(a.Unread)-i)
			break
		}
		fmt.Fprintf(w, "  could not be read: %s\n", text)
	}
}

// rotated reports a bundle that is affected by itself.
func (a affected) rotated(bundle string) bool {
	return slices.ContainsFunc(a.Bundles, func(b affectedBundle) bool { return b.Bundle == bundle })
}
