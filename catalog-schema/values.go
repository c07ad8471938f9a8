package catalog

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/assay-oci/assay/reconcile"
)

// Types of attributes beyond Go's own. Each has one entry in valueTypes.
type (
	level         string // of a scope
	repoPath      string // of a repository, without the host
	date          time.Time
	justification string // OpenVEX's
	signerFormat  string
	publicKey     string // PEM
	byteSize      int64
	jsonPath      string // of a file of the catalog, from the block's folder on
	gateMode      string
	commitName    string // hexadecimal, whole
	forgeRepo     string // "owner/name"
)

// levels, from the widest to the narrowest.
var levels = []string{"organization", "program", "project", "application"}

// justifications are those of the OpenVEX specification v0.2.0, "Status Justifications".
var justifications = []string{
	"component_not_present",
	"inline_mitigations_already_exist",
	"vulnerable_code_cannot_be_controlled_by_adversary",
	"vulnerable_code_not_in_execute_path",
	"vulnerable_code_not_present",
}

// gateModes are the ways to verify approvals.
var gateModes = []string{string(reconcile.GateOff), string(reconcile.GateRules), string(reconcile.GateReviews)}

// Bounds of a string, in bytes, and of a list.
const (
	maxText = 4096
	maxList = 1000
)

// A valueType is how values of a Go type are written in the catalog.
type valueType struct {
	name  string // for the reference
	parse func(cty.Value) (any, error)
}

var valueTypes map[reflect.Type]valueType

// list looks its element's type up in valueTypes, so the table is filled at the start of the program.
func init() {
	valueTypes = map[reflect.Type]valueType{
		reflect.TypeFor[string]():           {"string", fromString(func(s string) (string, error) { return s, nil })},
		reflect.TypeFor[bool]():             {"bool", parseBool},
		reflect.TypeFor[int]():              {"whole number", parseInt},
		reflect.TypeFor[time.Duration]():    {"duration, as \"72h\" or \"7d\"", fromString(ParseDuration)},
		reflect.TypeFor[byteSize]():         {"size, as \"512MiB\" or \"4GiB\"", fromString(parseSize)},
		reflect.TypeFor[date]():             {"date, as \"2027-05-01\"", fromString(parseDate)},
		reflect.TypeFor[level]():            {"one of " + oneOf(levels), fromString(enum[level]("level", levels))},
		reflect.TypeFor[justification]():    {"one of OpenVEX's " + oneOf(justifications), fromString(enum[justification]("justification", justifications))},
		reflect.TypeFor[signerFormat]():     {"\"legacy\" or \"bundle\"", fromString(enum[signerFormat]("format", []string{"legacy", "bundle"}))},
		reflect.TypeFor[publicKey]():        {"public key in PEM", fromString(parsePublicKey)},
		reflect.TypeFor[jsonPath]():         {"path of a .json file", fromString(parseJSONPath)},
		reflect.TypeFor[gateMode]():         {"one of " + oneOf(gateModes), fromString(enum[gateMode]("mode", gateModes))},
		reflect.TypeFor[commitName]():       {"commit, with all its hexadecimal digits", fromString(parseCommit)},
		reflect.TypeFor[forgeRepo]():        {"repository, as \"acme/catalog\"", fromString(parseForgeRepo)},
		reflect.TypeFor[repoPath]():         {"path of a repository", fromString(parsePath)},
		reflect.TypeFor[reconcile.Repo]():   {"repository with its host", fromString(reconcile.ParseRepo)},
		reflect.TypeFor[reconcile.Prefix](): {"registry host, or host and path", fromString(parsePrefix)},
		reflect.TypeFor[reconcile.Digest](): {"digest", fromString(reconcile.ParseDigest)},
		reflect.TypeFor[reconcile.Tag]():    {"tag", fromString(parseTag)},
		reflect.TypeFor[[]string]():         {"list of strings", list[string]},
		reflect.TypeFor[[]reconcile.Tag]():  {"list of tags", list[reconcile.Tag]},
		reflect.TypeFor[[]signerFormat]():   {"list of \"legacy\" and \"bundle\"", list[signerFormat]},
	}
}

func fromString[T any](parse func(string) (T, error)) func(cty.Value) (any, error) {
	return func(v cty.Value) (any, error) {
		if v.IsNull() || v.Type() != cty.String {
			return nil, errors.New("a string in quotes is needed here")
		}
		s := v.AsString()
		if len(s) > maxText {
			return nil, fmt.Errorf("the string is longer than %d bytes", maxText)
		}
		return parse(s)
	}
}

func parseBool(v cty.Value) (any, error) {
	if v.IsNull() || v.Type() != cty.Bool {
		return nil, errors.New("true or false is needed here, without quotes")
	}
	return v.True(), nil
}

func parseInt(v cty.Value) (any, error) {
	if v.IsNull() || v.Type() != cty.Number {
		return nil, errors.New("a number is needed here, without quotes")
	}
	n, accuracy := v.AsBigFloat().Int64()
	if accuracy != big.Exact || n < 0 || n > 1_000_000 {
		return nil, errors.New("a whole number from 0 to 1000000 is needed here")
	}
	return int(n), nil
}

func list[T any](v cty.Value) (any, error) {
	if v.IsNull() || !v.Type().IsTupleType() {
		return nil, errors.New("a list in square brackets is needed here")
	}
	if v.LengthInt() > maxList {
		return nil, fmt.Errorf("the list has more than %d elements", maxList)
	}
	out := []T{}
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		x, err := valueTypes[reflect.TypeFor[T]()].parse(e)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", len(out)+1, err)
		}
		out = append(out, x.(T))
	}
	return out, nil
}

func enum[T ~string](what string, known []string) func(string) (T, error) {
	return func(s string) (T, error) {
		for _, k := range known {
			if s == k {
				return T(s), nil
			}
		}
		return "", fmt.Errorf("%q is no %s; known are %s.%s", clip(s), what, oneOf(known), nearest(s, known))
	}
}

// parseSize parses whole numbers of MiB and GiB: less than a MiB bounds nothing that could still run.
func parseSize(s string) (byteSize, error) {
	bad := fmt.Errorf("%q is no size; write mebibytes or gibibytes, as in \"512MiB\" or \"4GiB\"", clip(s))
	for unit, bytes := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil || n <= 0 || n > 1_000_000 {
				return 0, bad
			}
			return byteSize(n * bytes), nil
		}
	}
	return 0, bad
}

// ParseDuration parses Go's durations and whole days, as in "7d". It refuses negative ones.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is no duration; write hours or days, as in \"72h\" or \"7d\"", clip(s))
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 100_000 {
			return 0, bad
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, bad
	}
	return d, nil
}

func parseDate(s string) (date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return date{}, fmt.Errorf("%q is no date; write year, month and day, as in \"2027-05-01\"", clip(s))
	}
	return date(t), nil
}

// endOf is the moment at which a date is over: an exception that expires on a day still counts on that day (UTC).
func (d date) endOf() time.Time {
	if time.Time(d).IsZero() {
		return time.Time{}
	}
	return time.Time(d).AddDate(0, 0, 1)
}

func parseTag(s string) (reconcile.Tag, error) {
	t, err := reconcile.ParseTag(s)
	if err != nil {
		return t, err
	}
	if _, ok := t.Subject(); ok {
		return t, fmt.Errorf("tag %q is a name for records about an image; choose another", s)
	}
	return t, nil
}

func parsePath(s string) (repoPath, error) {
	p, err := reconcile.ParsePrefix("registry.invalid/" + s)
	if err != nil || p.Path() != s || s == "" {
		return "", fmt.Errorf("%q is no repository path (lower-case letters and digits, separated by single dots, underscores, hyphens and slashes)", clip(s))
	}
	return repoPath(s), nil
}

func parsePrefix(s string) (reconcile.Prefix, error) {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		return reconcile.Prefix{}, fmt.Errorf("%q has a scheme; write %q", clip(s), clip(path.Clean(rest)))
	}
	return reconcile.ParsePrefix(s)
}

func parsePublicKey(s string) (publicKey, error) {
	block, rest := pem.Decode([]byte(s))
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return "", errors.New("one PEM block of the type PUBLIC KEY is needed here, as cosign.pub has it")
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		return "", errors.New("this is no public key that can be parsed")
	}
	return publicKey(s), nil
}

func parseJSONPath(s string) (jsonPath, error) {
	if !fs.ValidPath(s) || path.Ext(s) != ".json" || strings.ContainsAny(s, "\\:") {
		return "", fmt.Errorf("%q is no path of a .json file in or below the block's folder, with slashes and without \"..\"", clip(s))
	}
	return jsonPath(s), nil
}

var (
	wholeCommit   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	ownerAndName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9_.-]{1,100}$`)
	dotsAndNoName = regexp.MustCompile(`/\.{1,2}$`)
)

// parseCommit takes no short names: another commit may come to have the same one.
func parseCommit(s string) (commitName, error) {
	if !wholeCommit.MatchString(s) {
		return "", errors.New("a commit is written with all its hexadecimal digits, in lower case")
	}
	return commitName(s), nil
}

func parseForgeRepo(s string) (forgeRepo, error) {
	if !ownerAndName.MatchString(s) || dotsAndNoName.MatchString(s) {
		return "", errors.New("a repository is written as its owner and its name, such as \"acme/catalog\"")
	}
	return forgeRepo(s), nil
}
