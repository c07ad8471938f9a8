package forgetest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// A Check is a check run.
type Check struct {
	ID                 int64
	Name, Commit       string
	External, Link     string
	Status, Conclusion string
	Title, Summary     string
	Annotations        []map[string]any
}

// An Analysis is what was uploaded to code scanning.
type Analysis struct {
	Commit, Ref string
	SARIF       string
}

// Checks returns all check runs.
func (s *Server) Checks() []Check {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Check
	for _, k := range s.checks {
		out = append(out, *k)
	}
	return out
}

// Analyses returns what was uploaded to code scanning.
func (s *Server) Analyses() []Analysis {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.analyses)
}

type checkInput struct {
	Name       string
	HeadSHA    string `json:"head_sha"`
	ExternalID string `json:"external_id"`
	DetailsURL string `json:"details_url"`
	Status     string
	Conclusion string
	Output     *struct {
		Title, Summary string
		Annotations    []map[string]any
	}
}

// maxAnnotations are those that one request may have.
const maxAnnotations = 50

// write takes over what a request says of a check run.
func (c call) write(k *Check, in checkInput) bool {
	if in.Output != nil {
		if len(in.Output.Annotations) > maxAnnotations {
			refuse(c.w, http.StatusUnprocessableEntity, "Invalid request: no more than 50 annotations are allowed per request")
			return false
		}
		if len([]rune(in.Output.Summary)) > 65535 {
			refuse(c.w, http.StatusUnprocessableEntity, "Invalid request: summary is too long")
			return false
		}
		k.Title, k.Summary = in.Output.Title, in.Output.Summary
		k.Annotations = append(k.Annotations, in.Output.Annotations...)
	}
	for to, v := range map[*string]string{&k.Name: in.Name, &k.External: in.ExternalID, &k.Link: in.DetailsURL, &k.Status: in.Status, &k.Conclusion: in.Conclusion} {
		if v != "" {
			*to = v
		}
	}
	if k.Conclusion != "" {
		k.Status = "completed"
	}
	return true
}

func (c call) createCheck() {
	var in checkInput
	if !c.body(&in) {
		return
	}
	if _, err := c.tryGit("cat-file", "-e", in.HeadSHA+"^{commit}"); err != nil || in.Name == "" {
		refuse(c.w, http.StatusUnprocessableEntity, "No commit found for SHA: "+in.HeadSHA)
		return
	}
	k := &Check{Commit: in.HeadSHA, Status: "queued"}
	if !c.write(k, in) {
		return
	}
	c.Server.nextID++
	k.ID = c.nextID
	c.Server.checks = append(c.checks, k)
	c.json(http.StatusCreated, c.checkShape(k))
}

func (c call) editCheck() {
	i := slices.IndexFunc(c.checks, func(k *Check) bool { return strconv.FormatInt(k.ID, 10) == c.values["id"] })
	if i < 0 {
		refuse(c.w, http.StatusNotFound, "Not Found")
		return
	}
	var in checkInput
	if c.body(&in) && c.write(c.checks[i], in) {
		c.json(http.StatusOK, c.checkShape(c.checks[i]))
	}
}

func (c call) listChecks() {
	name := c.r.URL.Query().Get("check_name")
	out := []any{}
	for _, k := range slices.Backward(c.checks) {
		if k.Commit == c.values["sha"] && (name == "" || k.Name == name) {
			out = append(out, c.checkShape(k))
		}
	}
	c.json(http.StatusOK, object{"total_count": len(out), "check_runs": out})
}

func (c call) uploadSARIF() {
	var in struct {
		CommitSHA string `json:"commit_sha"`
		Ref       string
		SARIF     string
	}
	if !c.body(&in) {
		return
	}
	packed, err := base64.StdEncoding.DecodeString(in.SARIF)
	if err != nil {
		refuse(c.w, http.StatusBadRequest, "sarif is not base64")
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		refuse(c.w, http.StatusBadRequest, "sarif is not compressed")
		return
	}
	text, err := io.ReadAll(io.LimitReader(z, 64<<20))
	if err != nil {
		refuse(c.w, http.StatusBadRequest, "sarif is damaged")
		return
	}
	c.Server.analyses = append(c.analyses, Analysis{Commit: in.CommitSHA, Ref: in.Ref, SARIF: string(text)})
	c.json(http.StatusAccepted, object{"id": "47177e22-5596-11eb-80a1-c1e54ef945c6", "url": "https://api.github.com/repos/" + c.name + "/code-scanning/sarifs/47177e22-5596-11eb-80a1-c1e54ef945c6"})
}
