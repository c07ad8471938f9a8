package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type config struct {
	ForbidRoot    bool              `hcl:"forbid_root,optional" default:"false" doc:"Whether the image must name a user, and one other than root or the number 0. (A name that the image's own /etc/passwd gives the number 0 is not seen.)"`
	Users         []string          `hcl:"users,optional" default:"any" doc:"Patterns of which the image's user must match one, such as \"65532\" or \"nonroot*\"; its group doesn't count."`
	Entrypoint    []string          `hcl:"entrypoint,optional" default:"any" doc:"Patterns of which the program that the image starts must match one: the first word of its entrypoint, or else of its command."`
	Ports         []string          `hcl:"ports,optional" default:"any" doc:"The ports that it may expose, as \"80/tcp\" or \"1024-65535/tcp\". An empty list allows none."`
	ForbidSecrets bool              `hcl:"forbid_secrets,optional" default:"false" doc:"Whether its environment may hold nothing that looks like a secret: by a name such as DB_PASSWORD, or a value such as a private key. Values are never shown."`
	NotSecret     []string          `hcl:"not_secret,optional" default:"[]" doc:"Patterns of names of environment variables that are no secrets, whatever they look like."`
	Labels        map[string]string `hcl:"labels,optional" default:"none" doc:"Labels that it must have, and a pattern for the value of each: { \"org.opencontainers.image.source\" = \"https://github.com/acme/**\" }. An empty value never satisfies."`
	Annotations   map[string]string `hcl:"annotations,optional" default:"none" doc:"Annotations that its manifest, or the index around it, must have, likewise."`
}

func init() {
	register("config", "What the configuration of an image says. The identifiers of findings: `root-user`, `user`, `entrypoint`, the port, `secret:` with the variable's name, `label:` and `annotation:` with the key.",
		`rule "config" {
  forbid_root    = true
  ports          = ["1024-65535/tcp"]
  forbid_secrets = true
  labels = {
    "org.opencontainers.image.source" = "https://github.com/acme/**"
  }
}
`, buildConfig)
}

// A portRange is what a pattern of ports stands for.
type portRange struct {
	from, to int
	protocol string
}

func buildConfig(p config, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if !p.ForbidRoot && p.Users == nil && p.Entrypoint == nil && p.Ports == nil && !p.ForbidSecrets && len(p.Labels) == 0 && len(p.Annotations) == 0 {
		diags = append(diags, mistake(body.MissingItemRange(), "Rule without effect", "The rule demands nothing; see its parameters."))
	}
	for name, list := range map[string][]string{
		"users": p.Users, "entrypoint": p.Entrypoint, "not_secret": p.NotSecret,
		"labels": slices.Sorted(maps.Values(p.Labels)), "annotations": slices.Sorted(maps.Values(p.Annotations)),
	} {
		diags = append(diags, checkPatterns(body, name, list)...)
	}
	var ports []portRange
	for _, s := range p.Ports {
		r, err := parsePorts(s)
		if err != nil {
			diags = append(diags, mistake(at(body, "ports"), "Invalid ports", "%s.", err))
		}
		ports = append(ports, r)
	}
	return reconcile.ReadsContent, func(s reconcile.Subject, _ time.Time) []reconcile.Finding {
		return onEach(s, func(m reconcile.Manifest, where string) []reconcile.Finding {
			out := p.user(m.Config, where)
			out = append(out, p.program(m.Config, where)...)
			out = append(out, p.exposed(m.Config, ports, where)...)
			out = append(out, p.secrets(m.Config, where)...)
			out = append(out, demanded("label", p.Labels, m.Config.Labels, where)...)
			return append(out, demanded("annotation", p.Annotations, notes(*s.Evidence.Tree, m), where)...)
		})
	}, diags
}

// notes are the annotations that speak about a manifest: its own before those of the index around it.
func notes(t reconcile.Tree, m reconcile.Manifest) map[string]string {
	out := map[string]string{}
	for _, x := range t.Manifests {
		if x.Digest == t.Root {
			maps.Copy(out, x.Notes)
		}
	}
	maps.Copy(out, m.Notes)
	return out
}

func (p config) user(c reconcile.ConfigInfo, where string) []reconcile.Finding {
	name, _, _ := strings.Cut(c.User, ":")
	name = strings.TrimSpace(name)
	n, err := strconv.ParseInt(name, 10, 64)
	switch {
	case p.ForbidRoot && (name == "" || name == "root" || err == nil && n == 0):
		said := "names no user"
		if name != "" {
			said = fmt.Sprintf("names the user %q", clean(name, 80))
		}
		return []reconcile.Finding{{ID: "root-user", Summary: "the image runs as root" + where + ": its configuration " + said, Detail: "name another user in its build (USER), or ask for a waiver"}}
	case p.Users != nil && !matchAny(p.Users, name):
		return []reconcile.Finding{{ID: "user", Summary: fmt.Sprintf("the image runs as the user %q%s", clean(name, 80), where), Detail: "allowed are " + clean(strings.Join(p.Users, ", "), 300)}}
	}
	return nil
}

func (p config) program(c reconcile.ConfigInfo, where string) []reconcile.Finding {
	program := ""
	for _, list := range [][]string{c.Command, c.Entrypoint} {
		if len(list) > 0 {
			program = list[0]
		}
	}
	if p.Entrypoint == nil || matchAny(p.Entrypoint, program) {
		return nil
	}
	return []reconcile.Finding{{ID: "entrypoint", Summary: fmt.Sprintf("the image starts %q%s", clean(program, 200), where), Detail: "allowed are " + clean(strings.Join(p.Entrypoint, ", "), 300)}}
}

func (p config) exposed(c reconcile.ConfigInfo, allowed []portRange, where string) []reconcile.Finding {
	if p.Ports == nil {
		return nil
	}
	var out []reconcile.Finding
	for _, s := range c.Ports {
		r, err := parsePorts(s)
		if err == nil && slices.ContainsFunc(allowed, func(a portRange) bool { return a.protocol == r.protocol && a.from <= r.from && r.to <= a.to }) {
			continue
		}
		out = append(out, reconcile.Finding{ID: s, Summary: fmt.Sprintf("the image exposes the port %s%s", clean(s, 80), where),
			Detail: "expose only what is allowed: " + or(clean(strings.Join(p.Ports, ", "), 300), "nothing")})
	}
	return out
}

// parsePorts reads "80", "80/tcp" or "1024-65535/udp".
func parsePorts(s string) (portRange, error) {
	numbers, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = "tcp"
	}
	from, to, ok := strings.Cut(numbers, "-")
	if !ok {
		to = from
	}
	a, err := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil || a > b || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return portRange{}, fmt.Errorf("%q is no port; write it as in \"80/tcp\" or \"1024-65535/tcp\"", clean(s, 80))
	}
	return portRange{int(a), int(b), protocol}, nil
}

// secretNames and secretValues are what secrets look like. Names that end so that the value is where a secret lies, not the secret, are left out.
var (
	secretNames  = regexp.MustCompile(`(?i)(^|_)(password|passwd|passphrase|secret|secrets|token|credential|credentials|api_?key|access_?key|private_?key|secret_?key|auth_?key)(_|$|[0-9])`)
	secretPlaces = regexp.MustCompile(`(?i)_(file|path|dir|url|uri|name|header|issuer|audience|length|ttl|expiry)$`)
	secretValues = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[0-9A-Za-z]{36}|\bgithub_pat_[0-9A-Za-z_]{60}|\bglpat-[0-9A-Za-z_-]{20}|\bxox[abprs]-[0-9A-Za-z-]{10}|\bAIza[0-9A-Za-z_-]{35}|\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.|://[^/\s:@]+:[^/\s:@]+@`)
)

func (p config) secrets(c reconcile.ConfigInfo, where string) []reconcile.Finding {
	if !p.ForbidSecrets {
		return nil
	}
	var out []reconcile.Finding
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		byName := value != "" && secretNames.MatchString(name) && !secretPlaces.MatchString(name)
		if !byName && !secretValues.MatchString(value) || matchAny(p.NotSecret, name) {
			continue
		}
		why := "by its value"
		if byName {
			why = "by its name"
		}
		out = append(out, reconcile.Finding{ID: "secret:" + name, Summary: fmt.Sprintf("the environment variable %s looks like a secret %s%s", clean(name, 80), why, where),
			Detail: "give it to the container when it runs, not to the image; if it is none, name it in not_secret"})
	}
	return out
}

// demanded compares labels or annotations with those that must be there.
func demanded(what string, demands, has map[string]string, where string) []reconcile.Finding {
	var out []reconcile.Finding
	for _, key := range slices.Sorted(maps.Keys(demands)) {
		value, ok := has[key]
		if value != "" && matchAny([]string{demands[key]}, value) {
			continue
		}
		said := "has no " + what + " " + key
		if ok {
			said = fmt.Sprintf("has the %s %s = %q", what, key, clean(value, 100))
		}
		out = append(out, reconcile.Finding{ID: what + ":" + key, Summary: "the image " + said + where, Detail: fmt.Sprintf("set it to match %q in its build", demands[key])})
	}
	return out
}
