package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// A statusError is an answer that isn't what was asked for.
type statusError struct {
	host    string
	status  int
	codes   []string // of the registry's own error format
	message string   // the registry's words, bounded and printable
	html    bool     // a web page instead
	login   bool     // to a request with a user and password
	at      string   // the registry that one logs in to, if host is its token server
	unnamed bool     // a body without error codes
}

func (e *statusError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d %s", e.host, e.status, strings.ToLower(http.StatusText(e.status)))
	if len(e.codes) > 0 {
		b.WriteString(" (" + strings.Join(e.codes, ", ") + ")")
	}
	if e.message != "" {
		fmt.Fprintf(&b, ": %q", e.message)
	}
	switch {
	case e.html:
		b.WriteString("; it sent a web page, so this may be no registry, or a proxy stands before it")
	case e.status == http.StatusUnauthorized && e.login:
		b.WriteString("; it does not accept the user and password that were sent, log in again, as with: docker login " + cmp.Or(e.at, e.host))
	case e.status == http.StatusUnauthorized:
		b.WriteString("; log in first, as with: docker login " + cmp.Or(e.at, e.host))
	case e.status == http.StatusForbidden:
		b.WriteString("; the credentials do not allow it")
	case e.status == http.StatusTooManyRequests:
		b.WriteString("; its rate limit is used up, try again later")
	}
	return b.String()
}

// absent tells that the registry said in its own words that there is no such thing. A web page says nothing.
func (e *statusError) absent() bool { return e.status == http.StatusNotFound && !e.html }

func (e *statusError) has(codes ...string) bool {
	for _, c := range e.codes {
		for _, want := range codes {
			if c == want {
				return true
			}
		}
	}
	return false
}

// refusal is an error that repeating can't cure: a rule of ours, or an answer that makes no sense.
type refusal struct{ reason string }

func (e *refusal) Error() string { return e.reason }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// statusOf returns the registry's answer within an error.
func statusOf(err error) (*statusError, bool) {
	var e *statusError
	return e, errors.As(err, &e)
}

// newStatusError reads the answer's body, in the error format of the OCI distribution specification v1.1, "Error Codes".
func newStatusError(host string, resp *http.Response) *statusError {
	e := &statusError{host: host, status: resp.StatusCode, html: isHTML(resp.Header)}
	e.login = resp.Request != nil && strings.HasPrefix(resp.Request.Header.Get("Authorization"), "Basic ")
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var told struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &told) == nil {
		for i, t := range told.Errors {
			if i < 3 && t.Code != "" {
				e.codes = append(e.codes, printable(t.Code, 40))
			}
			if e.message == "" {
				e.message = printable(t.Message, 160)
			}
		}
	} else if !e.html {
		e.message = printable(string(body), 160)
	}
	e.unnamed = len(body) > 0 && len(e.codes) == 0
	return e
}

func isHTML(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "text/html" || kind == "application/xhtml+xml")
}

// printable makes a registry's text fit for one line of ours.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return s
}

// withoutURL takes the address out of an error of net/http: query strings of redirects and uploads can be secrets.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
