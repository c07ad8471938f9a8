package feeds

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// A release of a distribution.
type release struct {
	Until string `json:"until,omitempty"` // the last day of support, as 2006-01-02; empty if none is known
	Ended bool   `json:"ended,omitempty"` // for a release of which only that is known
}

// builtinSupport is for those who import no list. Debian's and Ubuntu's dates are those of distro-info-data 0.58+deb12u6; the others were entered by
// hand, and are not verified against a list: import one where a rule depends on them.
//
//go:embed support.csv
var builtinSupport []byte

// builtinData is as old as the list that support.csv was made from.
var builtinData = time.Date(2025, 10, 18, 0, 0, 0, 0, time.UTC)

var fallback = sync.OnceValue(func() map[string]release {
	rows, err := csv.NewReader(bytes.NewReader(builtinSupport)).ReadAll()
	if err != nil {
		panic("feeds: support.csv: " + err.Error()) // it is part of the program
	}
	out := map[string]release{}
	for _, r := range rows[1:] {
		out[r[0]+":"+r[1]] = release{Until: r[2]}
	}
	return out
})

// products are the names that lists of dates have for a distribution whose os-release has another one.
var products = map[string][]string{
	"alpine": {"alpine-linux", "alpine"}, "rocky": {"rocky-linux"}, "ol": {"oracle-linux"}, "amzn": {"amazon-linux"},
	"opensuse-leap": {"opensuse"}, "azurelinux": {"azure-linux"},
}

// supportOf looks up a distribution such as "debian:12", as os-release names it, and then with fewer parts of its version.
func supportOf(releases map[string]release, distribution string) (release, bool) {
	id, version, _ := strings.Cut(distribution, ":")
	names := products[id]
	if names == nil {
		names = []string{id}
	}
	for version != "" {
		for _, n := range names {
			if r, ok := releases[n+":"+version]; ok {
				return r, true
			}
		}
		version = version[:max(strings.LastIndex(version, "."), 0)]
	}
	return release{}, false
}

func (r release) support(data time.Time) *reconcile.Support {
	until, _ := time.Parse(time.DateOnly, r.Until)
	return &reconcile.Support{Until: until, Ended: r.Ended, Data: data}
}

// parseSupport tells the formats apart by what they hold. Two of them don't name the distribution: their file's name does.
func parseSupport(s *stored, file string, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	product, _, _ := strings.Cut(filepath.Base(file), ".")
	switch b = bytes.TrimSpace(b); {
	case len(b) == 0:
		return errors.New("it is empty")
	case b[0] == '[':
		return parseCycles(s, product, b)
	case b[0] == '{':
		return parseProducts(s, b)
	}
	return parseDistroInfo(s, product, b)
}

// parseCycles reads https://endoflife.date/api/<product>.json.
func parseCycles(s *stored, product string, b []byte) error {
	var cycles []struct {
		Cycle    any `json:"cycle"`
		EOL      any `json:"eol"` // a date, or whether it is over
		Extended any `json:"extendedSupport"`
	}
	if err := json.Unmarshal(b, &cycles); err != nil {
		return fmt.Errorf("it is no list of endoflife.date: %w", err)
	}
	for _, c := range cycles {
		until := c.EOL
		if _, ok := c.Extended.(string); ok && forAll(product) {
			until = c.Extended
		}
		r := release{}
		switch x := until.(type) {
		case string:
			r.Until = x
		case bool:
			r.Ended = x
		default:
			return fmt.Errorf("its entry %v has no end of life", c.Cycle)
		}
		if err := s.addRelease(product, fmt.Sprint(c.Cycle), r); err != nil {
			return err
		}
	}
	return nil
}

// forAll tells whether the extended support of a product is for everybody: Debian's LTS is; of others it is sold.
func forAll(product string) bool { return product == "debian" }

// parseProducts reads https://endoflife.date/api/v1/products/full, or of one product https://endoflife.date/api/v1/products/<product>.
func parseProducts(s *stored, b []byte) error {
	type product struct {
		Name     string `json:"name"`
		Releases []struct {
			Name     string `json:"name"`
			Ended    *bool  `json:"isEol"`
			Until    string `json:"eolFrom"`
			Extended string `json:"eoesFrom"`
		} `json:"releases"`
	}
	var list struct {
		Generated time.Time       `json:"generated_at"`
		Result    json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("it is no list of endoflife.date: %w", err)
	}
	var all []product
	if json.Unmarshal(list.Result, &all) != nil {
		var one product
		if err := json.Unmarshal(list.Result, &one); err != nil {
			return fmt.Errorf("it is no list of endoflife.date: %w", err)
		}
		all = []product{one}
	}
	for _, p := range all {
		for _, x := range p.Releases {
			r := release{Until: x.Until}
			if x.Extended != "" && forAll(p.Name) {
				r.Until = x.Extended
			}
			if r.Until == "" && x.Ended == nil {
				continue // a product that never ends
			}
			r.Ended = r.Until == "" && *x.Ended
			if err := s.addRelease(p.Name, x.Name, r); err != nil {
				return err
			}
		}
	}
	s.Feed.Data = list.Generated.UTC()
	return nil
}

// parseDistroInfo reads debian.csv and ubuntu.csv. Debian's long term support is for everybody; Ubuntu's later dates are sold.
func parseDistroInfo(s *stored, product string, b []byte) error {
	if product != "debian" && product != "ubuntu" {
		return errors.New("it is neither endoflife.date's JSON nor distro-info-data's debian.csv or ubuntu.csv")
	}
	c := csv.NewReader(bytes.NewReader(b))
	c.FieldsPerRecord = -1
	rows, err := c.ReadAll()
	if err != nil {
		return err
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	if _, ok := column["eol"]; !ok || rows[0][0] != "version" {
		return errors.New("its columns should be version, …, eol, …")
	}
	for _, row := range rows[1:] {
		cell := func(name string) string {
			if i, ok := column[name]; ok && i < len(row) {
				return row[i]
			}
			return ""
		}
		version, _, _ := strings.Cut(cell("version"), " ") // "24.04 LTS"
		until := cell("eol")
		if lts := cell("eol-lts"); lts != "" && product == "debian" {
			until = lts
		}
		if version == "" || until == "" {
			continue // not released yet
		}
		if err := s.addRelease(product, version, release{Until: until}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stored) addRelease(product, version string, r release) error {
	if product == "" || version == "" || len(product)+len(version) > 200 {
		return errors.New("an entry has no product or no version")
	}
	if _, err := time.Parse(time.DateOnly, r.Until); r.Until != "" && err != nil {
		return fmt.Errorf("the end of %q %q is no date", product, version)
	}
	if s.Releases[product+":"+version] = r; len(s.Releases) > maxEntries {
		return fmt.Errorf("it has more than %d entries", maxEntries)
	}
	return nil
}
