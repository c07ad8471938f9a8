package github

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-github/v60/github"
)

// maxSARIF is how many bytes of a report code scanning takes, compressed ("SARIF results exceed one or more limits" in GitHub's documentation).
const maxSARIF = 10 << 20

const needScanning = "security_events=write, and code scanning to be enabled for the repository"

// Upload hands a SARIF report about a commit to code scanning. Ref is such as "refs/heads/main" or "refs/pull/7/head". To upload the same again does no harm.
func (c *Client) Upload(ctx context.Context, ref, commit string, sarif []byte) error {
	if !validCommit.MatchString(commit) {
		return fmt.Errorf("upload the report to code scanning: %q is no commit", clean(commit, 100))
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(sarif)
	if err := errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("compress the report: %w", err)
	}
	if b.Len() > maxSARIF {
		return fmt.Errorf("upload the report to code scanning: it has %d bytes, compressed, more than %d", b.Len(), maxSARIF)
	}
	text := base64.StdEncoding.EncodeToString(b.Bytes())
	_, resp, err := c.api.CodeScanning.UploadSarif(ctx, c.owner, c.name, &github.SarifAnalysis{CommitSHA: &commit, Ref: &ref, Sarif: &text})
	var accepted *github.AcceptedError
	if errors.As(err, &accepted) || resp != nil && resp.StatusCode == http.StatusAccepted {
		return nil
	}
	if err != nil {
		return failed("upload the report to code scanning", needScanning, err)
	}
	return nil
}
