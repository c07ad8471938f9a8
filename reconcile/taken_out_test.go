package reconcile

import (
	"strings"
	"testing"
	"time"
)

// What a pull request takes out is told, by what becomes of it; not what it revokes, and not what stays where it was.
func TestWhatIsTakenOut(t *testing.T) {
	at := Target{Registry: "eu", Repo: repo("eu.example.com/a/app")}
	digest := MustDigest("sha256:" + strings.Repeat("a", 64))
	gone := Want{Name: "app", Version: "1.0", From: Image{Repo: repo("docker.io/library/app"), Digest: digest}, To: []Target{at}, Origin: Origin{File: "app.hcl", Line: 3}}
	stays := gone
	stays.Version, stays.From.Digest = "2.0", MustDigest("sha256:"+strings.Repeat("b", 64))
	for name, c := range map[string]struct {
		d    Desired
		want string
	}{
		"without prune":         {Desired{Replaced: []Want{gone}}, "in eu its tags and its content stay, since"},
		"another version":       {Desired{Replaced: []Want{gone}, Wants: []Want{stays}}, "in eu its tags go, its content stays, since"},
		"with prune":            {Desired{Replaced: []Want{gone}, Prune: Prune{Absent: true, Grace: time.Hour, Limit: 1}}, "in eu its tags go, and its content once it has been absent for 1h0m0s"},
		"revoked":               {Desired{Replaced: []Want{gone}, Revoked: []Revocation{{Name: "app", Digest: digest, Repos: []Repo{at.Repo}}}}, ""},
		"under another version": {Desired{Replaced: []Want{gone}, Wants: []Want{gone}}, ""},
	} {
		got := ""
		for _, f := range Diff(c.d, Observed{}, time.Unix(0, 0)).Notes {
			if f.Rule == TakenOut {
				got += f.Summary
				if f.Image != "app:1.0" || f.Origin != gone.Origin {
					t.Errorf("%s: %+v", name, f)
				}
			}
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
