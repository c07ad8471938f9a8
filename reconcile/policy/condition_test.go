package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

func TestCondition(t *testing.T) {
	for _, c := range []struct {
		assert string
		want   string // of the first finding's detail; empty for none
	}{
		{`image.config.user != "root" && image.config.user != ""`, ""},
		{`image.config.user == "root"`, "change the image"},
		{`image.name == "nginx" && image.version == "1.27.3" && image.source == "docker.io/library/nginx" && startswith(image.digest, "sha256:")`, ""},
		{`contains(image.tags, "stable") && length(image.tags) == 2`, ""},
		{`contains(image.platforms, "linux/arm64")`, ""},
		{`image.size < 2000`, ""},
		{`image.config.labels["team"] == "edge"`, ""},
		{`image.config.labels["missing"] == "edge"`, "could not be evaluated"},
		{`lookup(image.config.labels, "missing", "none") == "none"`, ""},
		{`alltrue([for t in image.tags : matches("^[0-9a-z.]+$", t)])`, ""},
		{`anytrue([for k, v in image.config.labels : k == "team"])`, ""},
		{`!anytrue([])`, ""},
		{`can(image.config.labels["missing"]) || try(image.config.labels["team"], "") == "edge"`, ""},
		{`replace(image.name, "/^ng(.*)$/", "$1") == "inx" && replace("a.b", ".", "-") == "a-b"`, ""},
		{`regex("^([0-9]+)[.]", image.version)[0] == "1" && length(regexall("[0-9]+", image.version)) == 3`, ""},
		{`regex("^x", image.version) == "x"`, "could not be evaluated"},
		{`format("%s:%s", image.name, image.version) == join(":", [image.name, image.version])`, ""},
		{`tonumber(split(".", image.version)[1]) >= 27 && sum([1, 2]) == 3`, ""},
		{`length(setintersection(image.tags, ["stable", "x"])) == 1 && length(distinct(flatten([image.tags, image.tags]))) == 2`, ""},
		{`timecmp(image.config.created, timeadd("2026-11-21T12:00:00Z", "-1h")) > 0 && timecmp("2026-11-21T12:00:00Z", image.config.created) == 0`, ""},
		{`timecmp("soon", image.config.created) == 0`, "could not be evaluated"},
		{`lookup(merge(image.config.labels, {a = "b"}), "a", "") == "b" && coalesce("", "x") == "x"`, ""},
		{`image.review_by == "2027-05-01" && image.scope == "" && !image.mutable`, ""},
		{`endswith(image.config.created, "Z")`, ""},
		{`"${image.name}:${image.version}" == "nginx:1.27.3"`, ""},
		{`image.size > 0 ? true : null`, ""},
		{`image.size < 0 ? true : null`, "neither true nor false"},
	} {
		s := subjectOn(t, "linux/amd64", "linux/arm64")
		for _, tag := range []string{"1.27.3", "stable"} {
			x, _ := reconcile.ParseTag(tag)
			s.Want.Tags = append(s.Want.Tags, x)
		}
		s.Want.Review = time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
		for i := range s.Evidence.Tree.Manifests {
			s.Evidence.Tree.Manifests[i].Config = reconcile.ConfigInfo{User: "nginx", Created: now, Labels: map[string]string{"team": "edge"}}
		}
		r, diags := decode(t, "condition", "assert = "+c.assert)
		if diags.HasErrors() {
			t.Errorf("%s: %v", c.assert, diags)
			continue
		}
		got := r.Check(s, now)
		switch {
		case c.want == "" && got != nil:
			t.Errorf("%s: %v", c.assert, got)
		case c.want != "" && (len(got) == 0 || !strings.Contains(got[0].Detail, c.want)):
			t.Errorf("%s: %v", c.assert, got)
		}
	}
}

func TestAConditionIsJudgedOnEachPlatform(t *testing.T) {
	s := subjectOn(t, "linux/amd64", "linux/arm64")
	s.Evidence.Tree.Manifests[0].Config.User = "nginx"
	r := rule(t, "condition", "assert = image.config.user != \"\"\nmessage = \"runs as root\"")
	if got := lines(r.Check(s, now)); got != "condition: runs as root on linux/arm64" {
		t.Error(got)
	}
}

func TestAConditionReadsNoMoreThanItNeeds(t *testing.T) {
	for assert, want := range map[string]reconcile.Reads{
		`image.owner != ""`:          reconcile.ReadsDeclaration,
		`image.config.user != ""`:    reconcile.ReadsContent,
		`length(keys(image)) > 0`:    reconcile.ReadsInventory,
		`length(image.packages) > 0`: reconcile.ReadsInventory,
		`length(image.tags) < 9`:     reconcile.ReadsDeclaration,
	} {
		if got := rule(t, "condition", "assert = "+assert).Reads(); got != want {
			t.Errorf("%s reads %d", assert, got)
		}
	}
	s := subjectOn(t)
	s.Evidence.Tree = nil
	s.Want.Owner = "@acme/edge"
	if got := rule(t, "condition", `assert = image.owner != ""`).Check(s, now); got != nil {
		t.Errorf("%v", got)
	}
}

func TestAConditionOverHostileLabelsEndsSoon(t *testing.T) {
	s := subjectOn(t, "linux/amd64")
	labels := map[string]string{}
	for i := range 5_000 {
		labels[strings.Repeat("a", i%100)+string(rune('a'+i%26))+time.Duration(i).String()] = strings.Repeat("b", 50)
	}
	s.Evidence.Tree.Manifests[0].Config.Labels = labels
	start := time.Now()
	r := rule(t, "condition", `assert = alltrue([for k, v in image.config.labels : matches("^(b+)+$", v)])`)
	if got := r.Check(s, now); got != nil {
		t.Errorf("%v", got)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestAConditionThatTakesTooMuchWorkIsNotMet(t *testing.T) {
	x := listing("trivy")
	for i := range maxElements {
		x.Inventory.Packages = append(x.Inventory.Packages, reconcile.Package{Name: fmt.Sprint("p", i), Version: "1", Ecosystem: "npm", License: fmt.Sprint("L", i)})
	}
	s := scanned(subjectOn(t, "linux/amd64"), "linux/amd64", x)
	for _, assert := range []string{
		`length(distinct(image.licenses)) < 0`,
		`matches("(a|b){400}x", join(",", image.licenses))`,
		`length(join(join("", image.licenses), image.licenses)) > 0`,
		`alltrue([for p in image.packages : length(split("", replace(format("%999s", p.name), " ", "aaaa"))) > 0])`,
		`try(alltrue([for p in image.packages : length(split("", format("%999s", p.name))) > 0]), false)`,
	} {
		start := time.Now()
		got := rule(t, "condition", "assert = "+assert).Check(s, now)
		if len(got) != 1 {
			t.Errorf("%s: %v", assert, got)
		}
		if took := time.Since(start); took > 60*time.Second {
			t.Errorf("%s took %s", assert, took)
		} else {
			t.Logf("%s took %s", assert, took)
		}
	}
	labelled := subjectOn(t, "linux/amd64")
	labelled.Evidence.Tree.Manifests[0].Config.Env = make([]string, maxElements+1)
	if got := rule(t, "condition", `assert = image.config.user == ""`).Check(labelled, now); len(got) != 1 {
		t.Errorf("%v", got)
	}
	x.Inventory.Packages = append(x.Inventory.Packages, reconcile.Package{Name: "one more", Version: "1"})
	if got := rule(t, "condition", `assert = length(image.packages) > 0`).Check(scanned(subjectOn(t, "linux/amd64"), "linux/amd64", x), now); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
