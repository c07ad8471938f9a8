package reconcile

import (
	"context"
	"fmt"
	"slices"
)

// Examine reads an image and has every scanner of a catalog scan each of its platforms, or the one platform that is given. Scanners that could not be
// run give no verdict, with the reason.
func Examine(ctx context.Context, scanners []ScannerSpec, s Sensors, image Image, only Platform) (Evidence, error) {
	tree, err := s.Content.Tree(ctx, image)
	if err != nil {
		return Evidence{}, err
	}
	if only != (Platform{}) {
		if tree, err = tree.of(only); err != nil {
			return Evidence{}, err
		}
	}
	e := Evidence{Tree: &tree}
	var qs []Question
	for _, m := range tree.Runnable() {
		for _, sc := range scanners {
			qs = append(qs, Question{Kind: AskScan, Repo: image.Repo, Digest: m.Digest, Root: image.Digest, Scanner: sc.Name})
		}
	}
	if s.Asking != nil && len(qs) > 0 {
		s.Asking(qs)
	}
	answers := answerAll(ctx, s, Observed{}, qs)
	if ctx.Err() != nil {
		return Evidence{}, ctx.Err()
	}
	for _, m := range tree.Runnable() {
		for _, sc := range scanners {
			a := answers[Question{Kind: AskScan, Repo: image.Repo, Digest: m.Digest, Root: image.Digest, Scanner: sc.Name}]
			scan := a.Scan
			if a.Gap != nil {
				scan = Scan{NoVerdict: a.Gap.Reason}
			}
			scan.Scanner = sc.Name
			e.Scans = append(e.Scans, PlatformScan{Manifest: m.Digest, Platform: m.Platform, Scan: scan})
		}
	}
	return e, nil
}

// of keeps what belongs to one platform.
func (t Tree) of(p Platform) (Tree, error) {
	var have []string
	for _, m := range t.Runnable() {
		if m.Platform == p {
			return Tree{Root: t.Root, Manifests: []Manifest{m}}, nil
		}
		have = append(have, m.Platform.String())
	}
	slices.Sort(have)
	return Tree{}, fmt.Errorf("the image has no platform %s; it has %s", p, have)
}
