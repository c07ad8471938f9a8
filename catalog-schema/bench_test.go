package catalog

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// thousands is a catalog of so many images, one a file.
func thousands(n int) fstest.MapFS {
	m := sound(nil)
	for i := range n {
		name := fmt.Sprintf("image%05d", i)
		m[fmt.Sprintf("team%02d/%s.hcl", i%50, name)] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(exampleImage, "nginx", name))}
	}
	return m
}

func BenchmarkLoad(b *testing.B) {
	m := thousands(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if d, _ := LoadCommit(m, options); len(d.Wants) != 10_001 {
			b.Fatal(len(d.Wants))
		}
	}
}
