package catalog

import (
	"bytes"
	"strings"
	"testing"
)

func TestEntriesIn(t *testing.T) {
	const digest = "sha256:6d9908724b4c7b03e4f86da9d0e7233423b466ec94dbf6e936a66731e9133535"
	file := "image \"nginx\" {\n  source = \"docker.io/library/nginx\"\n  version \"1.0.0\" {\n    digest = \"" + digest + "\"\n  }\n  version \"broken\" {\n    digest = \"latest\"\n  }\n}\nscope 7 {}\n"
	got := EntriesIn("images/nginx.hcl", []byte(file), Limits{})
	if len(got) != 1 || got[0].Image != "nginx" || got[0].Version != "1.0.0" || got[0].Digest.String() != digest || got[0].Origin.File != "images/nginx.hcl" || got[0].Origin.Line != 3 {
		t.Errorf("entries %+v", got)
	}
	if got := EntriesIn("a.hcl", append([]byte(file), bytes.Repeat([]byte("#"), 1<<24)...), Limits{}); got != nil {
		t.Errorf("a file that is too long declares %+v", got)
	}
	if got := EntriesIn("a.hcl", []byte(strings.Repeat("{", 4000)), Limits{}); got != nil {
		t.Errorf("no HCL declares %+v", got)
	}
}
