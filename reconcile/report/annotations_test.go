package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
)

// What can be mended at its own line is shown, however many images wait for it.
func TestAnnotationsShowWhatCanBeMended(t *testing.T) {
	var r reconcile.Report
	for i := range 500 {
		r.Plan.Blocked = append(r.Plan.Blocked, reconcile.Finding{Rule: "catalog", Image: fmt.Sprintf("app%d", i), Summary: "The image can't be judged: Invalid expression", Detail: "z.hcl:2: …", Unknown: true, Origin: reconcile.Origin{File: "a.hcl", Line: i}})
	}
	r.Plan.Blocked = append(r.Plan.Blocked, reconcile.Finding{Rule: "catalog", Summary: "Invalid expression", Detail: "a value,\nnot a bracket", Origin: reconcile.Origin{File: "../../z.hcl", Line: 2}})
	got := strings.Split(Annotations(r, "deploy"), "\n")
	if len(got) != MaxAnnotations+1 || got[0] != "::error file=deploy/z.hcl,line=2,title=catalog::Invalid expression%0Aa value, not a bracket" {
		t.Errorf("%d lines: %q", len(got), got)
	}
	var b strings.Builder
	if err := Markdown(&b, r, MarkdownOptions{}); err != nil {
		t.Fatal(err)
	}
	_, advice, _ := strings.Cut(b.String(), "What the author can do")
	if n := strings.Count(advice, "\n- "); n != 2 || !strings.Contains(advice, "`app0`, `app1`, `app2` and 497 more can't be judged before this is mended: `z.hcl:2: …`") {
		t.Errorf("%d pieces of advice: %s", n, advice)
	}
}
