// Package download fetches what databases are made from, and asks a server only for what changed since.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"
)

// Options say where downloads are kept, and how much of them.
type Options struct {
	Dir     string       // each URL has a folder of its own in it
	Limit   int64        // bytes of one; a longer one is an error
	Client  *http.Client // nil for one with time limits, that goes on from https to https alone
	Refresh bool         // fetch also what did not change
}

// DefaultLimit lets all of OSV pass.
const DefaultLimit = 8 << 30

// validators are what the server said about the file that is kept: RFC 9110, section 8.8.
type validators struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// Get returns the file with what a URL has now, and whether it changed since the last time. The file is whole, or what it was before. It keeps the
// last part of the URL as its name, and has the time that the server said.
func Get(ctx context.Context, o Options, from string) (file string, changed bool, err error) {
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", false, fmt.Errorf("download: %q is no http or https URL", redacted(from))
	}
	file, changed, err = get(ctx, o, u)
	if err != nil {
		return "", false, fmt.Errorf("download %s: %w", u.Redacted(), cause(err))
	}
	return file, changed, nil
}

func redacted(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "it"
}

// cause leaves out the URL that net/http repeats, which may hold a password.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

var unsafe = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func get(ctx context.Context, o Options, u *url.URL) (string, bool, error) {
	sum := sha256.Sum256([]byte(u.String()))
	dir := filepath.Join(o.Dir, hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, err
	}
	name := unsafe.ReplaceAllString(path.Base(u.Path), "-")
	file, notes := filepath.Join(dir, "file-"+name), filepath.Join(dir, "validators.json")
	if name != "" && name[0] != '.' && name != "validators.json" {
		file = filepath.Join(dir, name)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", false, err
	}
	if known, ok := readValidators(file, notes); ok && !o.Refresh {
		set(r.Header, "If-None-Match", known.ETag)
		set(r.Header, "If-Modified-Since", known.LastModified)
	}
	client := o.Client
	if client == nil {
		client = defaultClient()
	}
	response, err := client.Do(r)
	if err != nil {
		return "", false, err
	}
	defer response.Body.Close()
	conditional := r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""
	switch {
	case response.StatusCode == http.StatusNotModified && conditional:
		return file, false, nil
	case response.StatusCode == http.StatusNotFound:
		return "", false, errors.New("there is nothing (404); is it spelled as the server spells it?")
	case response.StatusCode != http.StatusOK:
		return "", false, fmt.Errorf("the server answered %d", response.StatusCode)
	}
	if err := keep(o, response, dir, file); err != nil {
		return "", false, err
	}
	// After the file: who dies between them asks again with the old validators, and gets the file once more.
	b, err := json.Marshal(validators{u.Redacted(), response.Header.Get("ETag"), response.Header.Get("Last-Modified")})
	if err != nil {
		return "", false, err
	}
	return file, true, os.WriteFile(notes, b, 0o600)
}

func set(h http.Header, key, value string) {
	if value != "" {
		h.Set(key, value)
	}
}

// readValidators returns what is known of a file that is there.
func readValidators(file, notes string) (v validators, ok bool) {
	if _, err := os.Stat(file); err != nil {
		return v, false
	}
	b, err := os.ReadFile(notes)
	return v, err == nil && json.Unmarshal(b, &v) == nil
}

// keep writes a body and puts it in the file's place at once.
func keep(o Options, response *http.Response, dir, file string) error {
	limit := o.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, io.LimitReader(response.Body, limit+1))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if n > limit {
		return fmt.Errorf("it is larger than %d bytes", limit)
	}
	if response.ContentLength >= 0 && n != response.ContentLength {
		return fmt.Errorf("it ended after %d of %d bytes", n, response.ContentLength)
	}
	if t, err := http.ParseTime(response.Header.Get("Last-Modified")); err == nil {
		if err := os.Chtimes(f.Name(), t, t); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), file)
}

func defaultClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	return &http.Client{Transport: t, Timeout: time.Hour, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("it leads on too often")
		}
		if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return errors.New("it leads from https to what is not encrypted")
		}
		return nil
	}}
}
