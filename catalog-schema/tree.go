package catalog

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

var ctyString = cty.String

// A tree is the parsed catalog of one commit, before anything is compared or resolved.
type tree struct {
	prefix     string // of file names in diagnostics: basePrefix, or nothing
	files      map[string]*hcl.File
	scopes     map[string]*scopeBlock // by folder; "" is the root
	registries []*registryBlock
	scanners   []*scannerBlock
	signers    []*signerBlock
	sigstores  []*sigstoreBlock
	prunes     []*pruneBlock
	rescans    []*rescanBlock
	gates      []*gateBlock
	policies   []*policyBlock
	images     []*imageBlock
	revokes    []*revokeBlock
	waivers    []*waiverBlock
	vex        []*vexBlock
	fsys       fs.FS
	limits     Limits

	diags    hcl.Diagnostics // mistakes in what judges
	own      hcl.Diagnostics // mistakes in images and revocations, which stop themselves alone
	compared int             // names compared for hints

	unseen []unseen // what may hold blocks that all images depend on

	causes map[string]*hcl.Diagnostic // why the images of a folder, and of those below it, can't be judged
}

// parse reads the files of a commit. It always returns a tree; what it could not read is in causes.
func parse(fsys fs.FS, prefix string, limits Limits) *tree {
	limits = limits.withDefaults()
	t := &tree{fsys: fsys, limits: limits, prefix: prefix, files: map[string]*hcl.File{}, scopes: map[string]*scopeBlock{}, causes: map[string]*hcl.Diagnostic{}}
	l := &listing{fsys: fsys, limits: limits, name: func(p string) string { return prefix + p }}
	err := l.walk(".", 0)
	for i, d := range l.diags {
		t.notSeen(folderOf(l.folders[i]), d)
	}
	if err != nil {
		return t
	}
	var total int64
	refused := 0
	for _, p := range l.files {
		src, err := readFile(fsys, p, limits.File)
		if err != nil {
			t.notSeen(folderOf(path.Dir(p)), mistake(fileRange(prefix+p), "Unreadable file", "The file %q was not read: %v.", p, err))
			continue
		}
		if total += int64(len(src)); total > limits.Total {
			t.unsound("", mistake(fileRange(prefix+p), "Catalog too large", "The catalog's files have more than %d bytes together. Those from this one on were not read.", limits.Total))
			break
		}
		if len(t.diags) > maxDiagnostics {
			t.unsound("", mistake(fileRange(prefix+p), "Too many mistakes", "The files from this one on were not read."))
			break
		}
		if !t.file(p, src) {
			if refused++; refused == maxRefused {
				t.unsound("", mistake(fileRange(prefix+p), "Too many broken files", "%d files could not be parsed. Those after this one were not read.", refused))
				break
			}
		}
	}
	return t
}

// maxRefused bounds the work on a catalog of files that are made to be slow to parse.
const maxRefused = 5

// folderOf is the folder as the core writes it: "" for the root.
func folderOf(dir string) string {
	if dir == "." {
		return ""
	}
	return dir
}

// unsound notes a mistake that leaves the images of a folder without a judge.
func (t *tree) unsound(folder string, d *hcl.Diagnostic) {
	t.diags = append(t.diags, d)
	if _, ok := t.causes[folder]; !ok && d.Severity == hcl.DiagError {
		t.causes[folder] = d
	}
}

// unseen is a place that could not be read. If it belongs to the organization, it may hold a registry, a scanner, a signer or a prune block:
// without a signer that nobody saw, images would go out unsigned.
type unseen struct {
	folder string
	why    *hcl.Diagnostic
}

// ofOrganizationText finds blocks that all images depend on, in files that could not be parsed.
var ofOrganizationText = regexp.MustCompile(`(?m)(^|[\s}])(registry|scanner|signer|sigstore|prune|rescan|gate)\b`)

func (t *tree) notSeen(folder string, d *hcl.Diagnostic) {
	t.unsound(folder, d)
	t.unseen = append(t.unseen, unseen{folder, d})
}

// checkUnseen leaves all images without a judge where something that they depend on may not have been seen.
func (t *tree) checkUnseen() {
	for _, u := range t.unseen {
		if _, ok := t.causes[""]; !ok && t.scopeOf(u.folder) == "" {
			t.causes[""] = u.why
		}
	}
}

// entry notes a mistake in an image or a revocation.
func (t *tree) entry(n *node, ds ...*hcl.Diagnostic) {
	t.own = append(t.own, ds...)
	n.fail(ds...)
}

// note keeps diagnostics of a block that is no image; an error in it is one of the folder.
func (t *tree) note(folder string, ds hcl.Diagnostics) {
	for _, d := range ds {
		t.unsound(folder, d)
	}
}

// file parses one file and says whether its syntax is sound.
func (t *tree) file(p string, src []byte) bool {
	name, folder := t.prefix+p, folderOf(path.Dir(p))
	f, diags := parseFile(src, name)
	t.note(folder, diags)
	if d := firstError(diags); d != nil && ofOrganizationText.Match(src) {
		t.unseen = append(t.unseen, unseen{folder, d})
	}
	if f == nil {
		return false
	}
	t.files[name] = f
	body, ok := f.Body.(*hclsyntax.Body)
	if !ok {
		return false
	}
	for _, a := range sorted(body.Attributes) {
		t.unsound(folder, mistake(a.NameRange, "Attribute outside a block", "%q stands outside any block. A catalog's file holds blocks only.", clip(a.Name)))
	}
	for _, b := range body.Blocks {
		// of a file with a syntax error, no block is what its author meant
		if n := t.block(b, folder); n != nil {
			n.fail(diags...)
		}
	}
	return !diags.HasErrors()
}

// block decodes one block, keeps it, and returns where it stands.
func (t *tree) block(b *hclsyntax.Block, folder string) *node {
	i := slices.IndexFunc(blockTypes, func(bt blockType) bool { return bt.name == b.Type })
	if i < 0 {
		var known []string
		for _, bt := range blockTypes {
			known = append(known, bt.name)
		}
		d := unknownBlock(b, "", known)
		t.unsound(folder, d)
		if !slices.Contains([]string{"scope", "policy", "image", "revoke", "waiver", "vex"}, closest(b.Type, known)) {
			t.unseen = append(t.unseen, unseen{folder, d})
		}
		return nil
	}
	label := blockTypes[i].label
	// an image or a revocation stops itself alone
	switch b.Type {
	case "image":
		x := &imageBlock{}
		t.own = append(t.own, decode(b, folder, label, x)...)
		t.images = append(t.images, x)
		return &x.node
	case "revoke":
		x := &revokeBlock{}
		t.own = append(t.own, decode(b, folder, label, x)...)
		t.revokes = append(t.revokes, x)
		return &x.node
	case "scope":
		x := &scopeBlock{}
		t.note(folder, decode(b, folder, label, x))
		if first := t.scopes[folder]; first != nil {
			t.unsound(folder, mistake(x.def(), "Second scope", "The folder is the scope %q already (line %d of %s).", first.label, first.def().Start.Line, first.def().Filename))
			return nil
		}
		t.scopes[folder] = x
		return &x.node
	case "registry":
		x := ofOrganization(t, b, folder, label, &registryBlock{})
		t.registries = append(t.registries, x)
		return &x.node
	case "scanner":
		x := ofOrganization(t, b, folder, label, &scannerBlock{})
		t.scanners = append(t.scanners, x)
		return &x.node
	case "signer":
		x := ofOrganization(t, b, folder, label, &signerBlock{})
		t.signers = append(t.signers, x)
		return &x.node
	case "sigstore":
		x := ofOrganization(t, b, folder, label, &sigstoreBlock{})
		t.sigstores = append(t.sigstores, x)
		return &x.node
	case "prune":
		x := ofOrganization(t, b, folder, label, &pruneBlock{Limit: defaultLimit, Grace: defaultGrace})
		t.prunes = append(t.prunes, x)
		return &x.node
	case "rescan":
		x := ofOrganization(t, b, folder, label, &rescanBlock{Interval: defaultInterval, Expires: defaultExpires})
		t.rescans = append(t.rescans, x)
		return &x.node
	case "gate":
		x := ofOrganization(t, b, folder, label, &gateBlock{})
		t.gates = append(t.gates, x)
		return &x.node
	case "policy":
		x := &policyBlock{}
		t.note(folder, decode(b, folder, label, x))
		t.policies = append(t.policies, x)
		return &x.node
	case "waiver":
		x := &waiverBlock{}
		t.note(folder, decode(b, folder, label, x))
		t.waivers = append(t.waivers, x)
		return &x.node
	case "vex":
		x := &vexBlock{}
		t.note(folder, decode(b, folder, label, x))
		t.vex = append(t.vex, x)
		return &x.node
	}
	return nil
}

// ofOrganization decodes a block that all images depend on: a mistake in it leaves none of them.
func ofOrganization[T located](t *tree, b *hclsyntax.Block, folder, label string, into T) T {
	t.note("", decode(b, folder, label, into))
	return into
}

// broken returns why the images of a folder can't be judged, or nil.
func (t *tree) broken(folder string) *hcl.Diagnostic {
	for _, f := range enclosing(folder) {
		if d := t.causes[f]; d != nil {
			return d
		}
	}
	return nil
}

// enclosing lists the folders around and including one, the root first.
func enclosing(folder string) []string {
	out := []string{""}
	for i, c := range folder {
		if c == '/' {
			out = append(out, folder[:i])
		}
	}
	if folder != "" {
		out = append(out, folder)
	}
	return out
}

// encloses tells whether folder outer is inner or lies around it.
func encloses(outer, inner string) bool {
	return outer == "" || outer == inner || strings.HasPrefix(inner, outer+"/")
}

// scopeFolders lists the folders that are scopes, wider ones first.
func (t *tree) scopeFolders() []string {
	var out []string
	for f := range t.scopes {
		out = append(out, f)
	}
	sort.Strings(out)
	return out
}
