package external

import (
	"errors"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/scan/program"
	"github.com/assay-oci/assay/reconcile/scan/scantest"
)

// A scanner that doesn't recognise the system sees its packages as little as if there were none.
func TestASystemThatIsNotSeen(t *testing.T) {
	npm := []reconcile.Package{{Name: "lodash", PURL: "pkg:npm/lodash@4.17.4"}}
	file := func(name string) []byte { return scantest.Tar(t, scantest.File{Name: name, Content: "Package: x\n"}) }
	for name, c := range map[string]struct {
		layers [][]byte
		want   string
	}{
		"dpkg":                       {[][]byte{file("var/lib/dpkg/status")}, "var/lib/dpkg/status"},
		"dpkg of distroless":         {[][]byte{file("./var/lib/dpkg/status.d/base")}, "status.d"},
		"apk":                        {[][]byte{file("lib/apk/db/installed")}, "lib/apk/db/installed"},
		"rpm":                        {[][]byte{file("/var/lib/rpm/rpmdb.sqlite")}, "var/lib/rpm/"},
		"no system":                  {[][]byte{file("app/x")}, ""},
		"one that was removed":       {[][]byte{file("var/lib/dpkg/status"), file("var/lib/dpkg/.wh.status")}, ""},
		"a folder that was removed":  {[][]byte{file("var/lib/dpkg/status"), file("var/.wh.lib")}, ""},
		"a folder that was emptied":  {[][]byte{file("var/lib/rpm/Packages"), file("var/lib/rpm/.wh..wh..opq")}, ""},
		"one that came back":         {[][]byte{file("lib/apk/db/installed"), file("lib/.wh.apk"), file("lib/apk/db/installed")}, "installed"},
		"another one was removed":    {[][]byte{file("var/lib/dpkg/status"), file("var/lib/.wh.rpm")}, "dpkg"},
		"a layer that is no archive": {[][]byte{[]byte(strings.Repeat("no archive ", 100))}, "can't be read"},
	} {
		l := scantest.Layout(t, c.layers...)
		err := Seen(t.Context(), l, npm)
		var f program.Failure
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &f) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err := Seen(t.Context(), l, append(npm, reconcile.Package{PURL: "pkg:deb/debian/x@1"})); err != nil {
			t.Errorf("%s: %v, though a package of the system was seen", name, err)
		}
	}
}
