package reconcile

import "testing"

// A version is compared with the one that it replaces: one that stays, one that the pull request takes out, or, after the merge, the one that bears our signature and the tag
// that moves. What somebody pushed by hand was never approved.
func TestWhatAVersionIsComparedWith(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world, *Desired)
		with   string
	}{
		"one that stays": {func(w *world, d *Desired) {
			d.Wants = append(d.Wants, want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0", "stable"))
			d.Wants[0].Tags = d.Wants[0].Tags[:1]
		}, "1.0"},
		"one that is taken out, without a tag that moves": {func(w *world, d *Desired) {
			d.Replaced = d.Wants
			d.Wants = []Want{want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0")}
		}, "1.0"},
		"one that is gone from the catalog, and has the tag": {func(w *world, d *Desired) {
			d.Wants = []Want{want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0", "stable")}
		}, "1.0"},
		"one that somebody pushed": {func(w *world, d *Desired) {
			for _, host := range []string{"eu", "us"} {
				w.tags[repo(host+".example.com/approved/nginx")][tag("new")] = w.hold(host+".example.com/approved/nginx", "foreign")
			}
			d.Wants = []Want{want(*d, w.index("docker.io/library/nginx", "nginx-2"), "nginx", "2.0", "new")}
		}, ""},
		"another image": {func(w *world, d *Desired) {
			d.Replaced = d.Wants
			d.Wants = []Want{want(*d, w.index("docker.io/library/redis", "redis"), "redis", "7")}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := settledWorld(t)
			c.change(w, &d)
			p := preview(t, w, d)
			if len(p.Profiles) != 1 || len(p.Gaps) > 0 {
				t.Fatalf("profiles %+v, gaps %v", p.Profiles, p.Gaps)
			}
			got := ""
			if s := p.Profiles[0].Since; s != nil {
				got = s.Version
				if s.Digest != sum("nginx-1") || s.Approved.IsZero() {
					t.Errorf("%+v", s)
				}
			}
			if got != c.with {
				t.Errorf("compared with %q, want %q", got, c.with)
			}
			checkShuffled(t, w, d, p)
		})
	}
}
