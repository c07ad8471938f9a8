package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"

	catalog "github.com/assay-oci/assay/catalog-schema"
	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/policy"
	"github.com/assay-oci/assay/reconcile/registry"
)

// Which hosts may lie on this machine, on its link, or where a cloud keeps credentials: those that somebody typed, and those that the reviewed catalog names. A pull
// request names none.

// registries are the options of what speaks with registries. The typed names are images, or hosts.
func (a *assembly) registries(typed ...string) registry.Options {
	return registry.Options{CacheDir: filepath.Join(a.cache, "content"), Insecure: a.options.insecure, Local: mayBeLocal(a.reviewed, append(typed, a.options.insecure...))}
}

// mayBeLocal allows the hosts of names that somebody typed and, if there is a catalog, those that it names, which are looked for when they are first needed.
func mayBeLocal(reviewed func() []string, typed []string) func(host string) bool {
	var hosts []string
	for _, name := range typed {
		host, _, _ := strings.Cut(name, "/")
		hosts = append(hosts, host)
	}
	byHand, inCatalog := registry.Named(hosts...), func(string) bool { return false }
	if reviewed == nil {
		return byHand
	}
	named := sync.OnceValue(func() func(string) bool { return registry.Named(reviewed()...) })
	inCatalog = func(host string) bool { return named()(host) }
	return func(host string) bool { return byHand(host) || inCatalog(host) }
}

// namedHosts returns the hosts that a catalog names: those of its registries, of its images' sources, and of what its rules "sources" allow.
func namedHosts(files fs.FS) []string {
	var out []string
	var mu sync.Mutex
	rules := catalog.Rules{}
	for name, decode := range ruleDecoders() {
		rules[name] = decode
	}
	decode := rules["sources"]
	rules["sources"] = func(body hcl.Body) (reconcile.Bound, hcl.Diagnostics) {
		mu.Lock()
		out = append(out, policy.SourceHosts(body)...)
		mu.Unlock()
		return decode(body)
	}
	d, _ := catalog.LoadCommit(files, catalog.Options{Now: time.Now(), Rules: rules, VEX: readVEX}) // what is broken names nothing
	for _, r := range d.Registries {
		out = append(out, r.Prefix.Host())
	}
	for _, w := range d.Wants {
		out = append(out, w.From.Repo.Host())
	}
	return out
}
