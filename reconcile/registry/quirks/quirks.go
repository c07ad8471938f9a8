// Package quirks holds dated facts about registries that can't be found out by asking them, or only by doing harm. Each entry says
// where it is from and when it was last verified, and each is acted on by package registry; what nothing acts on doesn't belong here.
package quirks

import "strings"

// A Quirk is how the registries of some hosts differ from the specification.
type Quirk struct {
	Hosts    []string // names, or "*." and a suffix
	Untag    string   // why a tag can't be removed alone; empty if it can, or if the registry says so itself
	Delete   string   // why a manifest can't be deleted, and how else
	NoAPI    bool     // there is no referrers API; asking leads to a web page
	Verified string   // date of the last look, as in 2026-11-21
	Source   string   // where the fact is from
}

// All are the known quirks.
var All = []Quirk{
	{
		Hosts:    []string{"ghcr.io"},
		Untag:    "GitHub's registry removes tags only together with their digest, through its packages API",
		Delete:   "GitHub's registry deletes only through its packages API: delete the package version on GitHub",
		NoAPI:    true,
		Verified: "2026-11-21",
		Source:   "https://github.com/containers/skopeo/issues/1880, https://github.com/project-zot/zot/issues/4060",
	},
	{
		Hosts:    []string{"docker.io"},
		Untag:    "Docker Hub removes tags only through its own API",
		Delete:   "Docker Hub deletes only through its own API: remove the image on hub.docker.com",
		Verified: "2026-11-21",
		Source:   "https://github.com/docker/hub-feedback/issues/1759",
	},
	{
		Hosts:    []string{"*.amazonaws.com", "*.amazonaws.com.cn"},
		Untag:    "ECR deletes an image together with its last tag",
		Verified: "2026-11-21",
		Source:   "https://github.com/aws/containers-roadmap/issues/1567",
	},
}

// Of returns what is known of a host; the zero value if nothing is.
func Of(host string) Quirk {
	for _, q := range All {
		for _, pattern := range q.Hosts {
			suffix, wild := strings.CutPrefix(pattern, "*")
			if host == pattern || wild && strings.HasSuffix(host, suffix) {
				return q
			}
		}
	}
	return Quirk{}
}
