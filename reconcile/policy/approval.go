package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type approval struct {
	Required int    `hcl:"required" doc:"How many people must have approved the change; its author is none of them."`
	From     string `hcl:"from,optional" default:"\"anyone\"" doc:"Who counts: \"anyone\", or \"codeowners\" for those who own the catalog's file, by themselves or by a team."`
}

func init() {
	register("approval", "Reviews of the pull request that brought an image's entry into the catalog, as the forge tells of them. While the pull request is open, the finding `pending` tells of it and "+
		"blocks nothing. An entry that is older than the gate and rests on the reviewed baseline is accepted, and told as `baseline`. Otherwise: `too-few-approvals`, `not-approved`; and `no-evidence` where the "+
		"forge could not be asked, or no forge is known.",
		`rule "approval" {
  required = 1
  from     = "codeowners"
}
`, buildApproval)
}

const fromOwners = "codeowners"

func buildApproval(p approval, body hcl.Body) (reconcile.Reads, check, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	if p.Required < 1 {
		diags = append(diags, mistake(at(body, "required"), "Invalid required", "At least one approval must be required."))
	}
	diags = append(diags, oneOf(body, "from", p.From, "anyone", fromOwners)...)
	return reconcile.ReadsReview, func(s reconcile.Subject, _ time.Time) []reconcile.Finding { return p.judge(s.Evidence.Review) }, diags
}

func (p approval) judge(r *reconcile.Review) []reconcile.Finding {
	find := func(f reconcile.Finding) []reconcile.Finding { return []reconcile.Finding{f} }
	if r == nil {
		return find(reconcile.Finding{ID: "no-evidence", Summary: "who approved it is not known: no forge was asked", Detail: "run where the forge of the catalog's repository can be asked", Unknown: true})
	}
	switch r.State {
	case reconcile.Approved:
		if r.Baseline {
			return find(reconcile.Finding{ID: "baseline", Summary: "it was in the catalog before approvals were demanded, and rests on the reviewed baseline",
				Detail: "its next change needs an approval of its own", Warning: true})
		}
		return p.count(r)
	case reconcile.Pending:
		return find(reconcile.Finding{ID: "pending", Summary: "its pull request is still open", Detail: p.needs() + " before it is merged", Pending: true})
	case reconcile.NotApproved:
		return find(reconcile.Finding{ID: "not-approved", Summary: "the change that brought it in was not approved" + because(r.Reason), Detail: p.needs()})
	}
	return find(reconcile.Finding{ID: "no-evidence", Summary: "who approved it is not known" + because(r.Reason), Detail: "the forge must be reachable; try again", Unknown: true})
}

// count judges how many people approved, each once.
func (p approval) count(r *reconcile.Review) []reconcile.Finding {
	var who []string
	for _, a := range r.Approvers {
		login := strings.ToLower(a.Login)
		if login == "" || login == strings.ToLower(r.Author) || p.From == fromOwners && a.Owner == "" || slices.Contains(who, login) {
			continue
		}
		who = append(who, login)
	}
	if len(who) >= p.Required {
		return nil
	}
	what := "people"
	if p.From == fromOwners {
		what = "code owners"
	}
	return []reconcile.Finding{{ID: "too-few-approvals", Summary: fmt.Sprintf("%d %s approved the change that brought it in; %d must have", len(who), what, p.Required), Detail: p.needs()}}
}

func (p approval) needs() string {
	if p.From == fromOwners {
		return fmt.Sprintf("%d of the file's code owners must approve the pull request", p.Required)
	}
	return fmt.Sprintf("%d other than its author must approve the pull request", p.Required)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + clean(reason, 300)
}
