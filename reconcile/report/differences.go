package report

import (
	"fmt"
	"slices"
)

// differences say where what was done differs from the plan that was approved.
func (p *page) differences() *section {
	s := &section{rank: rankOutcome, head: "**Differs from the approved plan:**\n\n", tail: "\n", noun: [2]string{"difference", "differences"}}
	if !p.applied() || p.o.Approved == nil || p.r.Error != "" {
		return s
	}
	all := differences(*p.o.Approved, p.rows)
	if len(all) == 0 {
		s.head = ""
		s.add("Differs from the approved plan: nothing.\n")
	}
	for _, line := range all {
		s.add("- " + line + "\n")
	}
	return s
}

// differences compares what was approved with what was found when it was carried out: Markdown, a line each.
func differences(a Approved, rows []*row) []string {
	approved, seen := map[string]ApprovedImage{}, map[string]bool{}
	for _, x := range a.Images {
		approved[x.Image] = x
	}
	var out []string
	for _, x := range rows {
		name := clip(x.title)
		seen[name] = true
		was, ok := approved[name]
		if !ok && x.verdict() == removed { // once its image is out of the catalog, it is named by its place
			if i := slices.IndexFunc(a.Images, func(y ApprovedImage) bool { return y.Verdict == removed && y.Digest == x.digest }); i >= 0 {
				was, ok = a.Images[i], true
				seen[was.Image] = true
			}
		}
		if !ok {
			out = append(out, fmt.Sprintf("%s was not in it, and is %s", code(x.title), x.verdict()))
			continue
		}
		if was.Digest != x.digest {
			out = append(out, fmt.Sprintf("%s: the digest is %s, approved was %s", code(x.title), code(x.digest.String()), code(was.Digest.String())))
		}
		if v := x.verdict(); v != was.Verdict {
			out = append(out, fmt.Sprintf("%s: **%s** now, %s when it was approved", code(x.title), v, was.Verdict))
		}
		if x.profile == nil || a.Least == none {
			continue
		}
		is := identifiers(x.profile.Vulnerabilities, a.Least)
		since := slices.DeleteFunc(is, func(id string) bool { _, had := slices.BinarySearch(was.Vulnerabilities, id); return had })
		if len(since) > 0 {
			out = append(out, fmt.Sprintf("%s: %s since: %s", code(x.title), counted(len(since), "vulnerability is new", "vulnerabilities are new"), codes(since)))
		}
	}
	for _, x := range a.Images {
		if !seen[x.Image] && (x.Verdict == ready || x.Verdict == revoked || x.Verdict == removed) {
			out = append(out, fmt.Sprintf("%s was approved as %s, and nothing was left to do about it: an earlier run did it, or a later change took it out", code(x.Image), x.Verdict))
		}
	}
	return out
}
