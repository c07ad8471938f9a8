package registry

import "github.com/assay-oci/assay/reconcile/registry/quirks"

// CannotUntag says why a tag can't be removed alone from a host; empty if that isn't known beforehand.
func CannotUntag(host string) string { return quirks.Of(host).Untag }

// CannotDelete says why nothing can be deleted from a host by the registry's API; empty if that isn't known beforehand.
func CannotDelete(host string) string { return quirks.Of(host).Delete }
