package catalog

import (
	"testing"
	"testing/fstest"
)

func TestApprovalsAreWhatACommitApproved(t *testing.T) {
	fsys := sound(nil)
	got := Approvals(fsys, options)
	if len(got) != 1 || got[0].Image != "nginx" || got[0].Version != "1.27.3" || len(got[0].Repos) != 2 || got[0].Repos[0].String() != "registry.eu.example.com/approved/nginx" {
		t.Errorf("%+v", got)
	}
}

func TestApprovalsToleratesMistakesElsewhere(t *testing.T) {
	fsys := sound(map[string]string{
		"policy.hcl": `policy "p" { rule "gone" {} }`,
		"broken.hcl": `image "x" {`,
		"redis.hcl":  "image \"redis\" {\n  source = \"docker.io/library/redis\"\n  ownr = 1\n  version \"1\" {\n    digest = \"sha256:0c9e0b6d0a0f5ad4d2e7f2a4b1c6d8e93f5a7b9c1d3e5f7092a4b6c8dae0f214\"\n  }\n  version \"2\" {\n    digest = \"?\"\n  }\n}\n",
	})
	got := Approvals(fsys, options)
	if len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestApprovalsOfNothingAreNone(t *testing.T) {
	if got := Approvals(fstest.MapFS{}, options); got != nil {
		t.Errorf("%+v", got)
	}
}
