package policy

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/assay-oci/assay/reconcile"
)

type sources struct {
	Allow []string `hcl:"allow,optional" default:"everything" doc:"Images may come from repositories that one of these patterns matches."`
	Deny  []string `hcl:"deny,optional" default:"[]" doc:"Images may not come from these, whatever is allowed."`
}

func init() {
	register("sources", "Where images may come from.\n\n"+
		"A pattern is a repository with its host, in which `?` stands for one character, `*` for any but slashes, and `**` for any number of path elements. "+
		"It is normalised as repositories are: `docker.io/nginx` means `docker.io/library/nginx`. "+
		"A host on this machine, such as `localhost:5000`, or on its link, is called only if what is merged spells it out.",
		`rule "sources" {
  allow = ["docker.io/library/*", "registry.k8s.io/**"]
  deny  = ["docker.io/library/centos"]
}
`, buildSources)
}

func buildSources(p sources, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if p.Allow == nil && p.Deny == nil {
		diags = append(diags, mistake(body.MissingItemRange(), "Rule without effect", "The rule needs allow or deny."))
	}
	parse := func(name string, list []string) []string {
		var out []string
		for _, s := range list {
			n, err := normalise(s)
			if err != nil {
				diags = append(diags, mistake(at(body, name), "Invalid pattern", "%s.", err))
			}
			out = append(out, n)
		}
		return out
	}
	allow, deny := parse("allow", p.Allow), parse("deny", p.Deny)
	return reconcile.ReadsDeclaration, func(s reconcile.Subject, _ time.Time) []reconcile.Finding {
		from := s.Want.From.Repo.String()
		if pattern, ok := match(deny, from); ok {
			return []reconcile.Finding{{ID: from, Summary: fmt.Sprintf("%s is denied as a source (%s)", from, pattern), Detail: "take the image from another repository"}}
		}
		if _, ok := match(allow, from); !ok && p.Allow != nil {
			return []reconcile.Finding{{ID: from, Summary: fmt.Sprintf("%s is not an allowed source", from),
				Detail: "take the image from one of " + strings.Join(allow, ", ") + ", or ask for the source to be allowed"}}
		}
		return nil
	}, diags
}

// SourceHosts returns the hosts that the body of a rule "sources" allows by their names, without * or ? in them. What can't be read names none.
func SourceHosts(body hcl.Body) []string {
	var p struct {
		Allow []string `hcl:"allow,optional"`
		Rest  hcl.Body `hcl:",remain"`
	}
	if gohcl.DecodeBody(body, nil, &p).HasErrors() {
		return nil
	}
	var out []string
	for _, pattern := range p.Allow {
		pattern, err := normalise(pattern)
		if host, _, _ := strings.Cut(pattern, "/"); err == nil && !strings.ContainsAny(host, "*?") {
			out = append(out, host)
		}
	}
	return out
}

func match(patterns []string, repo string) (string, bool) {
	for _, p := range patterns {
		if ok, err := doublestar.Match(p, repo); ok && err == nil {
			return p, true
		}
	}
	return "", false
}

var patternGrammar = regexp.MustCompile(`^[a-z0-9._:/*?-]{1,255}$`)

// normalise writes a pattern the way reconcile.ParseRepo writes repositories.
func normalise(pattern string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("the pattern %q %s", clean(pattern, 255), why)
	}
	host, path, ok := strings.Cut(pattern, "/")
	host = strings.ToLower(host)
	switch {
	case !ok || path == "" || !strings.ContainsAny(host, ".:*?") && host != "localhost":
		return bad(`names no registry; write the host too, as in "docker.io/library/*"`)
	case strings.Contains(host, "**"):
		return bad("has ** in its host; use *")
	case !patternGrammar.MatchString(host+"/"+path) || strings.Contains(path, "//"):
		return bad("is no repository with ?, * and ** in it")
	case strings.Count(pattern, "*") > 8:
		return bad("has more than 8 stars")
	}
	if !strings.ContainsAny(host, "*?") {
		p, err := reconcile.ParsePrefix(host)
		if err != nil {
			return "", err
		}
		host = p.Host()
	}
	if host == "docker.io" && !strings.Contains(path, "/") && path != "**" {
		path = "library/" + path
	}
	return host + "/" + path, nil
}
