package forgetest

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Description is the variable that names GitHub's OpenAPI description of its REST API, a JSON file of version 3.0. Where it is set, every request that a Server gets
// and every answer that it gives must be as described.
const Description = "ASSAY_GITHUB_OPENAPI"

// undescribed is in answers that GitHub may give one day.
const undescribed = "of_next_year"

// description is GitHub's own account of the API.
type description struct {
	mu       sync.Mutex
	document map[string]any
	compiler *jsonschema.Compiler
}

const documentURL = "https://api.github.com/openapi.json"

var loadDescription = sync.OnceValues(func() (*description, error) {
	name := os.Getenv(Description)
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &description{compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft4) // what OpenAPI 3.0's schemas are closest to
	if err := json.NewDecoder(f).Decode(&d.document); err != nil {
		return nil, err
	}
	return d, d.compiler.AddResource(documentURL, nullable(d.document))
})

// nullable turns OpenAPI's "nullable", which JSON Schema doesn't know, into a choice.
func nullable(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = nullable(v[i])
		}
	case map[string]any:
		null := v["nullable"] == true
		for k := range v {
			if k != "examples" && k != "example" {
				v[k] = nullable(v[k])
			}
		}
		if null {
			delete(v, "nullable")
			return map[string]any{"anyOf": []any{v, map[string]any{"type": "null"}}}
		}
	}
	return v
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// described compares a request and its answer with the description, if there is one. Refusals and raw files are as they are.
func described(t testing.TB, e endpoint, sent []byte, rec *httptest.ResponseRecorder) {
	d, err := loadDescription()
	if err != nil {
		t.Errorf("read GitHub's description: %v", err)
	}
	if d == nil || err != nil || strings.Contains(e.path, "/contents/") || rec.Code >= 300 || bytes.Contains(rec.Body.Bytes(), []byte(undescribed)) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	operation := d.operation(e)
	if operation == "" {
		t.Errorf("GitHub has no %s %s", e.method, e.path)
		return
	}
	if len(sent) > 0 && string(bytes.TrimSpace(sent)) != "null" { // which ghinstallation sends, and GitHub takes for nothing
		d.check(t, e, "request", operation+"/requestBody/content/application~1json/schema", sent)
	}
	d.check(t, e, "answer", operation+"/responses/"+strconv.Itoa(rec.Code)+"/content/application~1json/schema", rec.Body.Bytes())
}

// operation is the pointer to an endpoint's description; empty if there is none.
func (d *description) operation(e endpoint) string {
	ours := parameter.ReplaceAllString(strings.Replace(e.path, "{repo}", "{owner}/{repo}", 1), "{}")
	paths, _ := d.document["paths"].(map[string]any)
	for path, methods := range paths {
		if m, ok := methods.(map[string]any); ok && parameter.ReplaceAllString(path, "{}") == ours && m[strings.ToLower(e.method)] != nil {
			return "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + strings.ToLower(e.method)
		}
	}
	return ""
}

// at returns what a pointer names, and the pointer without references on its way.
func (d *description) at(pointer string) (any, string) {
	var v any = d.document
	at := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		m, _ := v.(map[string]any)
		v, at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)], at+"/"+part
		if m, ok := v.(map[string]any); ok {
			if ref, ok := m["$ref"].(string); ok {
				v, at = d.at(strings.TrimPrefix(ref, "#"))
			}
		}
	}
	return v, at
}

func (d *description) check(t testing.TB, e endpoint, what, pointer string, body []byte) {
	schema, at := d.at(pointer)
	if schema == nil {
		t.Errorf("GitHub describes no %s of %s %s like ours (%s)", what, e.method, e.path, pointer)
		return
	}
	s, err := d.compiler.Compile(documentURL + "#" + (&url.URL{Path: at}).EscapedPath())
	if err != nil {
		t.Errorf("compile the description of %s %s: %v", e.method, e.path, err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Errorf("the %s of %s %s is not as GitHub describes it: %v", what, e.method, e.path, err)
	}
}
