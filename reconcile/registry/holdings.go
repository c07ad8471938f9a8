package registry

import (
	"sync"

	"github.com/assay-oci/assay/reconcile"
)

type hostBlob struct {
	host   string
	digest reconcile.Digest
}

// holdings remembers which repositories hold a blob, so that it is mounted or left alone instead of sent again.
type holdings struct {
	mu    sync.Mutex
	by    map[hostBlob][]holder
	hosts map[reconcile.Digest][]reconcile.Repo // where this run has put a blob: one repository a host
	old   map[reconcile.Repo]bool               // repositories that turned out to hold blobs nobody told us about
	told  map[string]bool                       // hosts whose earlier content was recalled
}

// A holder is a repository that holds a blob. It is sure if this run put the blob there or saw it; else a manifest that names it
// lies there.
type holder struct {
	repo reconcile.Repo
	sure bool
}

func newHoldings() *holdings {
	return &holdings{by: map[hostBlob][]holder{}, hosts: map[reconcile.Digest][]reconcile.Repo{}, old: map[reconcile.Repo]bool{},
		told: map[string]bool{}}
}

// add notes that a repository holds a blob.
func (h *holdings) add(repo reconcile.Repo, d reconcile.Digest, sure bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := hostBlob{repo.Host(), d}
	for i, have := range h.by[key] {
		if have.repo == repo {
			h.by[key][i].sure = have.sure || sure
			return
		}
	}
	h.by[key] = append(h.by[key], holder{repo, sure})
}

// landed notes that this run has put a blob on a host.
func (h *holdings) landed(repo reconcile.Repo, d reconcile.Digest) {
	h.add(repo, d, true)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, other := range h.hosts[d] {
		if other.Host() == repo.Host() {
			return
		}
	}
	h.hosts[d] = append(h.hosts[d], repo)
}

// elsewhere returns a repository of another host where this run has put the blob.
func (h *holdings) elsewhere(host string, d reconcile.Digest) (reconcile.Repo, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, repo := range h.hosts[d] {
		if repo.Host() != host {
			return repo, true
		}
	}
	return reconcile.Repo{}, false
}

func (h *holdings) has(repo reconcile.Repo, d reconcile.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, have := range h.by[hostBlob{repo.Host(), d}] {
		if have.repo == repo {
			return true
		}
	}
	return false
}

// forget drops what was believed of a repository and a blob.
func (h *holdings) forget(repo reconcile.Repo, d reconcile.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := hostBlob{repo.Host(), d}
	var rest []holder
	for _, have := range h.by[key] {
		if have.repo != repo {
			rest = append(rest, have)
		}
	}
	h.by[key] = rest
}

// best returns the repository to mount a blob from: one that is sure, if there is one.
func (h *holdings) best(host string, d reconcile.Digest) (holder, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.by[hostBlob{host, d}]
	for _, have := range all {
		if have.sure {
			return have, true
		}
	}
	if len(all) > 0 {
		return all[0], true
	}
	return holder{}, false
}

func (h *holdings) isOld(repo reconcile.Repo) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.old[repo]
}

func (h *holdings) markOld(repo reconcile.Repo) { h.mu.Lock(); defer h.mu.Unlock(); h.old[repo] = true }

// firstRecall tells, once for each host, that its earlier content wasn't recalled yet.
func (h *holdings) firstRecall(host string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.told[host]
	h.told[host] = true
	return first
}
