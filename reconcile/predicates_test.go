package reconcile

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// What others read our records by is in PREDICATES.md: each example has all fields that a record of its kind may have, and no other ones.
func TestThePredicatesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("PREDICATES.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, c := range map[string]struct {
		predicateType string
		into          any
		never         map[string]bool // fields that no such record has
	}{
		"Approval":           {ApprovalPredicate, &ApprovalRecord{}, map[string]bool{".review.owners": true}}, // those of a pull request that is open
		"Verdict":            {VerdictPredicate, &verdictPredicate{}, nil},
		"What others signed": {UpstreamPredicate, &Upstream{}, nil},
		"Scan":               {VulnerabilityPredicate, &Scan{}, map[string]bool{".inventory": true, ".no_verdict": true}},
		"Inventory":          {InventoryPredicate, &Inventory{}, nil},
	} {
		t.Run(heading, func(t *testing.T) {
			_, section, _ := strings.Cut(string(doc), "\n## "+heading+"\n")
			section, _, _ = strings.Cut(section, "\n## ")
			_, example, _ := strings.Cut(section, "```json\n")
			example, _, ok := strings.Cut(example, "\n```")
			if !ok || !strings.Contains(section, "`"+c.predicateType+"`") || !strings.Contains(string(doc), "| [`"+c.predicateType+"`](#") {
				t.Fatalf("%s is not documented under %q, with an example", c.predicateType, heading)
			}
			dec := json.NewDecoder(strings.NewReader(example))
			dec.DisallowUnknownFields()
			if err := dec.Decode(c.into); err != nil {
				t.Fatalf("the example is no such record: %v", err)
			}
			written, err := json.Marshal(c.into)
			if err != nil {
				t.Fatal(err)
			}
			var shown, made any
			if err := json.Unmarshal([]byte(example), &shown); err != nil {
				t.Fatal(err)
			}
			if err := json.NewDecoder(bytes.NewReader(written)).Decode(&made); err != nil || !reflect.DeepEqual(shown, made) {
				t.Errorf("written by us it is %s (%v)", written, err)
			}
			inJSON := map[string]bool{}
			namesIn(shown, "", inJSON)
			for _, f := range fieldsOf(reflect.TypeOf(c.into).Elem(), "") {
				if inJSON[f] == c.never[f] {
					t.Errorf("the field %s: in the example %v, in no record %v", f, inJSON[f], c.never[f])
				}
			}
		})
	}
}

// namesIn collects the paths of all fields of a JSON value; those in a list are those of any of its elements.
func namesIn(v any, at string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			into[at+"."+k] = true
			namesIn(x, at+"."+k, into)
		}
	case []any:
		for _, x := range v {
			namesIn(x, at, into)
		}
	}
}

// fieldsOf lists the paths of the fields that a type has in JSON.
func fieldsOf(t reflect.Type, at string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" { // written as text, such as a digest or a time
			continue
		}
		out = append(out, at+"."+name)
		if at+"."+name != ".inventory" {
			out = append(out, fieldsOf(t.Field(i).Type, at+"."+name)...)
		}
	}
	return out
}
