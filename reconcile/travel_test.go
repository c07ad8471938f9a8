package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// attach has somebody sign an image and a platform of it, where they come from.
func (w *world) attach(i Image) {
	platform := w.trees[i.Digest].Manifests[0].Digest
	w.beside[i] = []Attachment{
		{At: sum("signature of " + i.Digest.Hex())},
		{At: sum("tag of " + i.Digest.Hex()), Tag: tag("sha256-" + i.Digest.Hex() + ".sig"), Layer: sum("layer of " + i.Digest.Hex())},
	}
	w.beside[Image{i.Repo, platform}] = []Attachment{{At: sum("provenance of " + platform.Hex())}}
}

// travelling is a world with an image that others signed, in a scope that lets that travel.
func travelling() (*world, Desired) {
	w := newWorld()
	d := scene(w)
	d.UpstreamRecords = true
	one := want(d, w.index("docker.io/library/nginx", "nginx-1"), "nginx", "1.0", "stable")
	one.UpstreamRecords = true
	w.attach(one.From)
	d.Wants = []Want{one}
	return w, d
}

// others are the manifests beside an image in a place that somebody else made, as many as the source has.
func (w *world) others(t *testing.T, wa Want, in Repo, want int) {
	t.Helper()
	got := 0
	for _, m := range w.trees[wa.From.Digest].Signed() {
		got += len(w.beside[Image{in, m}])
	}
	if got != want {
		t.Errorf("%s has %d records of others, want %d", in, got, want)
	}
}

func TestWhatOthersSignedTravelsBeforeOursAndOnce(t *testing.T) {
	w, d := travelling()
	one := d.Wants[0]
	p := preview(t, w, d)
	if got := kinds(p); got != "copy 2, sign 6, attest 4, place 24, tag 4" { // 20 of ours, and for each registry one about the index and one about a platform
		t.Fatalf("%s", got)
	}
	byID := map[string]Action{}
	for _, a := range p.Actions {
		byID[a.ID] = a
	}
	for _, a := range p.Actions {
		if a.Kind != Place || len(a.Beside) > 0 {
			continue
		}
		carried := 0
		for _, id := range a.Needs {
			if n := byID[id]; len(n.Beside) > 0 && n.To == a.To {
				carried++
			}
		}
		if carried != 2 {
			t.Errorf("a record is placed in %s after %d of 2", a.To, carried)
		}
	}
	run1(t, w, d)
	for _, to := range one.To {
		w.others(t, one, to.Repo, 3)
	}
	w.asked = nil
	if p := preview(t, w, d); !p.Empty() {
		t.Errorf("afterwards: %s", kinds(p))
	}
	w.beside[one.From] = append(w.beside[one.From], Attachment{At: sum("later")})
	if p := preview(t, w, d); !p.Empty() {
		t.Errorf("what is signed later travels: %s", kinds(p))
	}
	if i := slices.IndexFunc(w.asked, func(q Question) bool { return q.Repo == one.From.Repo }); i >= 0 {
		t.Errorf("its source was asked for %s", w.asked[i])
	}
}

func TestWhatOthersSignedComesToANewRegistryFromOneThatHasIt(t *testing.T) {
	w, d := travelling()
	all := d.Registries
	one := d.Wants[0]
	d.Registries, d.Wants[0].To = all[:1], one.To[:1]
	run1(t, w, d)
	w.broken[Question{Kind: AskBeside, Repo: one.From.Repo, Digest: one.From.Digest}] = errors.New("its source is gone")
	d.Registries, d.Wants[0].To = all, one.To
	run1(t, w, d)
	w.others(t, one, one.To[1].Repo, 3) // and none of ours among them
	if p := preview(t, w, d); !p.Empty() {
		t.Errorf("afterwards: %s", kinds(p))
	}
}

func TestTravelCases(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world, *Desired)
		kinds  string
		gaps   int
		asked  bool // what lies beside it at its source
	}{
		{"the scope doesn't say so", func(_ *world, d *Desired) { d.Wants[0].UpstreamRecords = false }, "copy 2, sign 6, attest 4, place 20, tag 4", 0, false},
		{"nobody signed it", func(w *world, _ *Desired) { clear(w.beside) }, "copy 2, sign 6, attest 4, place 20, tag 4", 0, true},
		{"without signers", func(_ *world, d *Desired) { d.Signers = nil }, "copy 2, place 4, tag 4", 0, true},
		{"unknown is not absent", func(w *world, d *Desired) {
			w.broken[Question{Kind: AskBeside, Repo: d.Wants[0].From.Repo, Digest: d.Wants[0].From.Digest}] = errors.New("429")
		}, "", 1, true},
		{"of what is refused nothing is asked", func(w *world, _ *Desired) {
			w.scans[sum("nginx-1amd64")] = Scan{Packages: 1, Vulnerabilities: []Vulnerability{{ID: "CVE-1", Severity: Critical}}}
		}, "", 0, false},
		{"nor while every registry waits for another one", func(_ *world, d *Desired) {
			for i := range d.Registries {
				d.Registries[i].After = After{Registry: "nowhere"}
			}
		}, "", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, d := travelling()
			c.change(w, &d)
			p := preview(t, w, d)
			asked := slices.ContainsFunc(w.asked, func(q Question) bool { return q.Kind == AskBeside })
			if got := kinds(p); got != c.kinds || len(p.Gaps) != c.gaps || asked != c.asked {
				t.Errorf("%s, gaps %v, asked %v", got, p.Gaps, asked)
			}
		})
	}
}

// What was copied with an image goes with it, from every manifest of it; where nothing travels, what others laid there is left alone.
func TestWhatTravelledGoesWithTheImage(t *testing.T) {
	for _, travels := range []bool{true, false} {
		w, d := travelling()
		one := d.Wants[0]
		run1(t, w, d)
		d.UpstreamRecords = travels
		d.Wants = []Want{want(d, w.index("docker.io/library/redis", "redis"), "redis", "7")}
		d.Revoked = []Revocation{{Name: "nginx", Digest: one.From.Digest, Reason: "CVE-1", Repos: []Repo{one.To[0].Repo, one.To[1].Repo}}}
		run1(t, w, d)
		for _, to := range one.To {
			w.others(t, one, to.Repo, map[bool]int{true: 0, false: 3}[travels])
		}
		w.others(t, one, one.From.Repo, 3)
	}
}

// In cosign's first format the signatures of all lie in one manifest. Ours are taken out of it when the image goes, and what others laid there is left alone.
func TestWhatOthersSignedBesideOursStays(t *testing.T) {
	w, d := settledWorld(t)
	one := d.Wants[0]
	var beside []Image
	for _, to := range one.To {
		i := Image{to.Repo, one.From.Digest}
		at := slices.IndexFunc(w.records[i], func(r Record) bool { return r.Statement.Format == Legacy })
		stranger := Record{Statement: Statement{Format: Legacy, Subject: i.Digest}, Payload: []byte("theirs"), At: w.records[i][at].At, Problem: "signed by another key"}
		w.records[i] = append(w.records[i], stranger)
		beside = append(beside, i)
	}
	d.Wants = []Want{want(d, w.index("docker.io/library/redis", "redis"), "redis", "7")}
	d.Revoked = []Revocation{{Name: "nginx", Digest: one.From.Digest, Reason: "CVE-1", Repos: []Repo{one.To[0].Repo, one.To[1].Repo}}}
	run1(t, w, d)
	for _, i := range beside {
		if r := w.records[i]; w.held[i] || len(r) != 1 || string(r[0].Payload) != "theirs" {
			t.Errorf("%s: held %t, with %d records", i.Repo, w.held[i], len(r))
		}
	}
	if rest := preview(t, w, d); !rest.Empty() {
		t.Errorf("left to do: %s", kinds(rest))
	}
}

func TestMoreRecordsThanTravelAreAFinding(t *testing.T) {
	w, d := travelling()
	from := d.Wants[0].From
	for n := range maxTravel {
		w.beside[from] = append(w.beside[from], Attachment{At: sum(fmt.Sprint(n))})
	}
	p := preview(t, w, d)
	if !p.Empty() || len(p.Blocked) != 1 || !strings.Contains(p.Blocked[0].Summary, "202 records of others lie beside docker.io/library/nginx@") {
		t.Errorf("%s, %s", kinds(p), summaries(p.Blocked))
	}
	w.beside[from] = w.beside[from][:maxTravel]
	if p := preview(t, w, d); p.Empty() || len(p.Blocked) > 0 {
		t.Errorf("as many as may travel: %s, %s", kinds(p), summaries(p.Blocked))
	}
}

func TestACarrierThatFailsHoldsSignaturesAndTagsBack(t *testing.T) {
	w, d := travelling()
	e := w.effects()
	e.Carrier = noCarrier{}
	r := Reconcile(context.Background(), d, Observed{}, w.sensors(), e, now)
	for i, a := range r.Plan.Actions {
		if o := r.Result.Outcomes[i]; o.Status == Done && (a.Kind == TagIt || a.Kind == Place) {
			t.Errorf("%s %s: %s", a.Kind, a.To, o.Status)
		}
	}
}

type noCarrier struct{}

func (noCarrier) Carry(context.Context, Image, Repo, []Attachment) error { return errors.New("500") }
