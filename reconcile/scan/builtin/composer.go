package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/inventory"
	"github.com/google/osv-scalibr/plugin"
	"github.com/google/osv-scalibr/purl"
)

const maxComposer = 64 << 20 // bytes of one file

// composerInstalled reads vendor/composer/installed.json, in which Composer says what it installed. scalibr reads only the lock file,
// which images often leave out.
type composerInstalled struct{}

func newComposerInstalled(*cpb.PluginConfig) (filesystem.Extractor, error) {
	return composerInstalled{}, nil
}

func (composerInstalled) Name() string                       { return "php/composerinstalled" }
func (composerInstalled) Version() int                       { return 0 }
func (composerInstalled) Requirements() *plugin.Capabilities { return &plugin.Capabilities{} }

func (composerInstalled) FileRequired(api filesystem.FileAPI) bool {
	return strings.HasSuffix("/"+api.Path(), "/composer/installed.json")
}

// Extract reads both forms of the file: Composer 2 has the packages in an object, Composer 1 had the list alone.
func (composerInstalled) Extract(_ context.Context, in *filesystem.ScanInput) (inventory.Inventory, error) {
	b, err := io.ReadAll(io.LimitReader(in.Reader, maxComposer+1))
	if err != nil {
		return inventory.Inventory{}, err
	}
	if len(b) > maxComposer {
		return inventory.Inventory{}, filesystem.ErrExtractorMemoryLimitExceeded
	}
	type installedPackage struct {
		Name    string   `json:"name"`
		Version string   `json:"version"`
		License []string `json:"license"`
	}
	var file struct {
		Packages []installedPackage `json:"packages"`
	}
	if json.Unmarshal(b, &file) != nil {
		if err := json.Unmarshal(b, &file.Packages); err != nil {
			return inventory.Inventory{}, fmt.Errorf("%s is no list of packages", in.Path)
		}
	}
	var out inventory.Inventory
	for _, p := range file.Packages {
		if p.Name == "" || p.Version == "" {
			continue
		}
		out.Packages = append(out.Packages, &extractor.Package{Name: p.Name, Version: p.Version, PURLType: purl.TypeComposer,
			Location: extractor.LocationFromPath(in.Path), Licenses: p.License})
	}
	return out, nil
}
