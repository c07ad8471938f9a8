package report

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/assay-oci/assay/reconcile"
)

// crowd is a report with much of everything, of hostile texts.
func crowd(t testing.TB, random *rand.Rand, n int) reconcile.Report {
	texts := corpus(t)
	text := func() string { return texts[random.IntN(len(texts))] }
	r := scene{t}.plan()
	for i := range n {
		part := hostile(t, text()).Plan
		for k := range part.Actions {
			part.Actions[k].ID += fmt.Sprint(i)
			part.Actions[k].Title = fmt.Sprintf("%.60s%d", text(), i)
		}
		for k := range part.Profiles {
			part.Profiles[k].Image = fmt.Sprintf("%.60s%d", text(), i)
			for len(part.Profiles[k].Licenses) < random.IntN(50) {
				part.Profiles[k].Licenses = append(part.Profiles[k].Licenses, text())
			}
		}
		p := &r.Plan
		p.Actions, p.Profiles, p.Blocked = append(p.Actions, part.Actions...), append(p.Profiles, part.Profiles...), append(p.Blocked, part.Blocked...)
		p.Violations, p.Notes, p.Gaps = append(p.Violations, part.Violations...), append(p.Notes, part.Notes...), append(p.Gaps, part.Gaps...)
	}
	return r
}

// A report is never longer than its limit, has whole parts only, and is the same bytes for the same report.
func TestShortenedReportsAreWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	for _, n := range []int{0, 1, 3, 40} {
		r := crowd(t, random, n)
		if n%2 == 1 {
			r = scene{t}.applied(r)
		}
		whole := 0
		for _, limit := range []int{0, 1, 20, 60, 100, 200, 500, 1000, 3000, 10_000, 60_000, 1 << 20} {
			o := MarkdownOptions{Limit: limit, Link: runLink}
			var b, again bytes.Buffer
			if err := Markdown(&b, r, o); err != nil {
				t.Fatal(err)
			}
			if err := Markdown(&again, r, o); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
				t.Fatalf("other bytes, %v", err)
			}
			got := utf8.RuneCount(b.Bytes())
			if limit == 0 {
				whole = got
			} else if got > limit || whole > limit && limit >= 3000 && got < limit/3 {
				t.Errorf("%d images in %d characters of %d, for a limit of %d", n, got, whole, limit)
			}
			checkStructure(t, b.String())
			if limit >= 500 && !strings.HasPrefix(b.String(), "### Assay ") {
				t.Errorf("no verdict: %.200s", b.String())
			}
			if said := strings.Contains(b.String(), "**Shortened"); limit >= 500 && said != (limit < whole) || limit == 0 && said {
				t.Errorf("limit %d of %d: it says that it was shortened: %v", limit, whole, said)
			}
		}
	}
}

func TestWhatIsFoldedGoesFirstAndPolicyLast(t *testing.T) {
	r := scene{t}.many()
	r.Plan.Notes = []reconcile.Finding{{Rule: policyChange, Summary: "the registry changes"}}
	var whole bytes.Buffer
	if err := Markdown(&whole, r, MarkdownOptions{}); err != nil {
		t.Fatal(err)
	}
	marks := []string{"evidence</summary>", "All actions", "**What the author can do:**", "| `app39:1.0` |", "| `tool:2.0` |", "the registry changes", "### Assay plan"}
	had := make([]bool, len(marks))
	for limit := utf8.RuneCount(whole.Bytes()); limit > 60; limit -= max(limit/15, 97) {
		var b bytes.Buffer
		if err := Markdown(&b, r, MarkdownOptions{Limit: limit}); err != nil {
			t.Fatal(err)
		}
		has := make([]bool, len(marks))
		for i, mark := range marks {
			has[i] = strings.Contains(b.String(), mark)
		}
		// what is gone stays gone, and while one of a rank is there, all that matters more is
		for i := 2; i < len(marks); i++ {
			if has[i-1] && !has[i] && i > 2 || limit < utf8.RuneCount(whole.Bytes()) && has[i] && !had[i] {
				t.Fatalf("limit %d: %v after %v", limit, has, had)
			}
		}
		had = has
	}
	if !slices.Equal(had, []bool{false, false, false, false, false, false, true}) {
		t.Errorf("at the end there is %v", had)
	}
}

func TestOnlyALinkThatIsOneIsLinked(t *testing.T) {
	for link, want := range map[string]bool{runLink: true, "": false, "javascript:alert(1)": false, "https://x.example.com/)[x](": false, "//x": false, "https:///x": false, "https://x.example.com/<b>": false} {
		if got := web(link) != ""; got != want {
			t.Errorf("%q: %v", link, got)
		}
	}
}

// A report on 3,000 images is written in the time that a comment may take.
func BenchmarkMarkdown(b *testing.B) {
	r := scene{b}.plan()
	for i := range 3000 {
		name := fmt.Sprintf("app%d", i)
		r.Plan.Actions = append(r.Plan.Actions, scene{b}.admit(name, "1.0", i%250)...)
		r.Plan.Profiles = append(r.Plan.Profiles, scene{b}.profile(name+":1.0", i%250))
		r.Plan.Gaps = append(r.Plan.Gaps, reconcile.Gap{Question: reconcile.Question{Kind: reconcile.AskTags, Repo: scene{b}.repos(name)[1]}, Reason: "503"})
	}
	for b.Loop() {
		var out bytes.Buffer
		if err := Markdown(&out, r, MarkdownOptions{Limit: 60_000, Link: runLink}); err != nil {
			b.Fatal(err)
		}
	}
}
