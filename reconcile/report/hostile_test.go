package report

import (
	"bytes"
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/assay-oci/assay/reconcile"
)

// corpus are the texts in testdata/hostile.
func corpus(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/hostile/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus, %v", err)
	}
	out := []string{strings.Repeat("a", 700), strings.Repeat("`|", 300)}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			s, err := strconv.Unquote(strings.TrimSpace(line))
			if err != nil {
				t.Fatalf("%s: %s: %v", file, line, err)
			}
			out = append(out, s)
		}
	}
	return out
}

// hostile is a report with one of everything, in which every text of a person, an image, a scanner or a registry is s.
func hostile(t testing.TB, s string) reconcile.Report {
	r := sample(t, true)
	for _, more := range []reconcile.Report{scene{t}.revoked(), scene{t}.blocked(false)} {
		r.Plan.Actions, r.Plan.Blocked, r.Plan.Profiles = append(r.Plan.Actions, more.Plan.Actions...), append(r.Plan.Blocked, more.Plan.Blocked...), append(r.Plan.Profiles, more.Plan.Profiles...)
	}
	for len(r.Result.Outcomes) < len(r.Plan.Actions) {
		r.Result.Outcomes = append(r.Result.Outcomes, reconcile.Outcome{ID: r.Plan.Actions[len(r.Result.Outcomes)].ID, Status: reconcile.Failed, Reason: "x"})
	}
	for _, change := range []string{"loosened", "tightened", ""} {
		r.Plan.Notes = append(r.Plan.Notes, reconcile.Finding{Rule: policyChange, ID: change, Summary: "x", Origin: reconcile.Origin{File: "x", Line: 1}})
	}
	rules := map[*string]bool{&r.Error: true}
	for i := range r.Plan.Notes {
		rules[&r.Plan.Notes[i].Rule] = r.Plan.Notes[i].Rule == policyChange
		rules[&r.Plan.Notes[i].ID] = r.Plan.Notes[i].Rule == policyChange
	}
	for i := range r.Plan.Actions {
		rules[&r.Plan.Actions[i].ID] = true
		rules[&r.Result.Outcomes[i].ID] = true
	}
	fill(reflect.ValueOf(&r), s, rules)
	return r
}

// fill sets every text but those to keep. Words of ours have types of their own, and are kept.
func fill(v reflect.Value, s string, keep map[*string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem(), s, keep)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), s, keep)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), s, keep)
		}
	case reflect.Map:
		if m, ok := v.Interface().(map[string]int); ok && m != nil {
			m[s] = 7
		}
	case reflect.String:
		if p, ok := v.Addr().Interface().(*string); ok && !keep[p] {
			*p = s
		}
	}
}

// liar is a report that was not made by us: the words of ours are s too.
func liar(t testing.TB, s string) reconcile.Report {
	r := hostile(t, s)
	for i := range r.Plan.Actions {
		r.Plan.Actions[i].Kind = reconcile.Kind(s)
		r.Result.Outcomes[i].Status = reconcile.Status(s)
	}
	for i := range r.Plan.Profiles {
		p := &r.Plan.Profiles[i]
		for _, list := range [][]reconcile.ProfileVulnerability{p.Vulnerabilities} {
			for k := range list {
				list[k].Severity = reconcile.Severity(s)
			}
		}
		if p.Review != nil {
			p.Review.State = reconcile.ReviewState(s)
		}
	}
	for i := range r.Plan.Gaps {
		r.Plan.Gaps[i].Question.Kind = s
	}
	return r
}

// unmade is a report of a run that ended before its time.
func unmade(t testing.TB, s string) reconcile.Report {
	r := hostile(t, s)
	r.Error = s
	return r
}

// meaningful are the texts that a report may be another one for.
var meaningful = map[string]bool{"": true, "age": true, "config": true, "end_of_life": true, "packages": true, "size": true, "vulnerabilities": true, policyChange: true, reconcile.TakenOut: true, "licenses": true, "signature": true, "provenance": true, "approval": true, "passed": true, "warned": true, "waived": true,
	"failed": true, "loosened": true, "tightened": true, "the catalog": true, "critical": true, "high": true, "medium": true, "low": true, "negligible": true, "unknown": true,
	"copy": true, "sign": true, "attest": true, "place": true, "tag": true, "untag": true, "delete": true, "retire": true, "done": true, "skipped": true, "stale": true, "pending": true}

// checkMarkdown asserts that a report has the same structure whatever foreign texts say.
func checkMarkdown(t testing.TB, s string) {
	t.Helper()
	for name, of := range map[string]func(testing.TB, string) reconcile.Report{"hostile": hostile, "liar": liar, "unmade": unmade} {
		got := rendered(t, of(t, s))
		structure := checkStructure(t, got)
		if !meaningful[s] {
			checkSame(t, name+" "+s, structure, benign(name, func() string { return skeleton(t, rendered(t, of(t, "x"))) }))
		}
		if _, ok := ReadTrace(got); ok {
			t.Fatalf("%s: %.300q forges a trace", name, s)
		}
	}
}

var benignSkeletons sync.Map

// benign is the skeleton of a report of harmless texts, made once.
func benign(name string, make func() string) string {
	if s, ok := benignSkeletons.Load(name); ok {
		return s.(string)
	}
	s := make()
	benignSkeletons.Store(name, s)
	return s
}

func checkSame(t testing.TB, s, got, want string) {
	t.Helper()
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	if len(got) != len(want) || i < len(got) {
		from := max(i-200, 0)
		t.Fatalf("%.300q changes the structure:\n%.400s\nis\n%.400s", s, want[from:], got[from:])
	}
}

func rendered(t testing.TB, r reconcile.Report) string {
	t.Helper()
	var b bytes.Buffer
	a := approve(r, reconcile.Unknown)
	a.Images = a.Images[:1]
	a.Images[0].Verdict = ready
	if err := Markdown(&b, r, MarkdownOptions{Approved: &a, Ended: noon, Link: runLink}); err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(b.Bytes()) {
		t.Fatal("no UTF-8")
	}
	return b.String()
}

func checkLines(t testing.TB, s, out string) {
	t.Helper()
	for _, c := range out {
		if c != '\n' && (unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp)) {
			t.Fatalf("%.300q lets %U through", s, c)
		}
	}
}

func checkText(t testing.TB, s string) {
	t.Helper()
	for _, of := range []func(testing.TB, string) reconcile.Report{hostile, liar} {
		var got, want bytes.Buffer
		if err := Text(&got, of(t, s), false); err != nil {
			t.Fatal(err)
		}
		if err := Text(&want, of(t, "x"), false); err != nil {
			t.Fatal(err)
		}
		checkLines(t, s, got.String())
		if !meaningful[s] && strings.Count(got.String(), "\n") != strings.Count(want.String(), "\n") {
			t.Fatalf("%.300q makes lines of its own:\n%.3000s", s, got.String())
		}
	}
}

func checkPlain(t testing.TB, s string) {
	t.Helper()
	p := Plain(s)
	checkLines(t, s, p+"\n")
	if n := utf8.RuneCountInString(p); strings.Contains(p, "\n") || !utf8.ValidString(p) || n > maxText+1 {
		t.Fatalf("%.300q becomes %q", s, p)
	}
	if c := html.UnescapeString(htmlCode(s)); s != "" && c != "<code>"+p+"</code>" {
		t.Fatalf("%.300q becomes %q", s, c)
	}
}

func checkAnnotations(t testing.TB, s string) {
	t.Helper()
	for line := range strings.Lines(Annotations(unmade(t, s), s)) {
		if !strings.HasPrefix(line, "::error ") && !strings.HasPrefix(line, "::warning ") || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%.300q makes a line of its own: %q", s, line)
		}
		checkLines(t, s, line)
		// a property ends at a comma or at two colons, and each line has one end of its properties
		properties, _, _ := strings.Cut(line[2:], "::")
		_, properties, _ = strings.Cut(properties, " ")
		for p := range strings.SplitSeq(properties, ",") {
			if name, _, ok := strings.Cut(p, "="); !ok || name != "file" && name != "line" && name != "title" {
				t.Fatalf("%.300q makes a property of its own: %q", s, line)
			}
		}
	}
}

func checkJSON(t testing.TB, s string) {
	t.Helper()
	var first, second bytes.Buffer
	if err := JSON(&first, hostile(t, strings.ToValidUTF8(s, "\ufffd"))); err != nil { // else that is what becomes of it
		t.Fatal(err)
	}
	var back struct{ reconcile.Report }
	if err := json.Unmarshal(first.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if err := JSON(&second, back.Report); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Fatalf("%.300q isn't read back:\n%s\n%.3000s", s, first.String(), second.String())
	}
}

func checkDrift(t testing.TB, s string) {
	t.Helper()
	render := func(s string) string {
		r := hostile(t, s)
		r.Plan.Owners = map[string]string{"nginx": s}
		var b bytes.Buffer
		drifted, err := Drift(&b, r, DriftOptions{Mention: true, Link: runLink})
		if err != nil || !drifted {
			t.Fatalf("%v, %v", drifted, err)
		}
		return b.String()
	}
	got := render(s)
	structure := checkStructure(t, got)
	if !meaningful[s] && s != "nginx" && !strings.ContainsAny(s, ":@") { // those end an image's label, and so tell whose it is
		checkSame(t, s, structure, benign("drift", func() string { return skeleton(t, render("x")) }))
	}
}

func sarifSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("testdata/sarif-2.1.0.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const id = "https://json.schemastore.org/sarif-2.1.0.json"
	if err := c.AddResource(id, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func checkSARIF(t testing.TB, schema *jsonschema.Schema, s string) {
	t.Helper()
	var b bytes.Buffer
	if err := SARIF(&b, hostile(t, s), SARIFOptions{Folder: "deploy", Version: s}); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Fatalf("%.300q: %v\n%.3000s", s, err, b.String())
	}
	var log sarifLog
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	for _, x := range log.Runs[0].Results {
		if uri := x.Locations[0].Physical.Artifact.URI; !strings.HasPrefix(uri, "deploy") || strings.Contains(uri, "..") {
			t.Fatalf("%.300q leads to %q", s, uri)
		}
		if log.Runs[0].Tool.Driver.Rules[x.Index].ID != x.Rule {
			t.Fatalf("%.300q: result of another rule", s)
		}
	}
}

// fuzz tests a renderer with the corpus, and from there on when it is asked to.
func fuzz(f *testing.F, check func(testing.TB, string)) {
	for _, s := range corpus(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { check(t, s) })
}

func FuzzMarkdown(f *testing.F)    { fuzz(f, checkMarkdown) }
func FuzzText(f *testing.F)        { fuzz(f, checkText) }
func FuzzPlain(f *testing.F)       { fuzz(f, checkPlain) }
func FuzzAnnotations(f *testing.F) { fuzz(f, checkAnnotations) }
func FuzzJSON(f *testing.F)        { fuzz(f, checkJSON) }
func FuzzDrift(f *testing.F)       { fuzz(f, checkDrift) }

func FuzzSARIF(f *testing.F) {
	schema := sarifSchema(f)
	fuzz(f, func(t testing.TB, s string) { checkSARIF(t, schema, s) })
}
