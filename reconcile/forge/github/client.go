package github

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"
)

// publicAPI is the API of github.com.
const publicAPI = "https://api.github.com"

// Options say which API to speak with, and as whom.
type Options struct {
	API        string            // base URL; empty for github.com's
	Repository string            // the catalog's, "owner/name"
	Token      string            // empty: nobody, unless App is set
	App        *App              // a GitHub App; it wins over Token
	Clock      Clock             // nil for the system's
	Transport  http.RoundTripper // nil for the system's
}

// App is a GitHub App, which can be given what GITHUB_TOKEN can't: reading the members of teams.
type App struct {
	ID           int64
	Installation int64  // zero: the one in the catalog's repository
	Key          []byte // the private key, PEM
}

// Environment reads the options that GitHub Actions and the user set ("Variables reference" in GitHub's documentation): GITHUB_API_URL, or what belongs
// to GITHUB_SERVER_URL; ASSAY_GITHUB_TOKEN or GITHUB_TOKEN; ASSAY_GITHUB_APP_ID with ASSAY_GITHUB_APP_KEY, which is PEM or a file's path, and maybe
// ASSAY_GITHUB_APP_INSTALLATION. Repository is left empty.
func Environment() (Options, error) {
	o := Options{API: os.Getenv("GITHUB_API_URL"), Token: os.Getenv("ASSAY_GITHUB_TOKEN")}
	if server := strings.TrimSuffix(os.Getenv("GITHUB_SERVER_URL"), "/"); o.API == "" && server != "" && server != "https://github.com" {
		o.API = server + "/api/v3"
	}
	if o.Token == "" {
		o.Token = os.Getenv("GITHUB_TOKEN")
	}
	id := os.Getenv("ASSAY_GITHUB_APP_ID")
	if id == "" {
		return o, nil
	}
	a := &App{}
	var err error
	if a.ID, err = strconv.ParseInt(id, 10, 64); err != nil || a.ID <= 0 {
		return o, errors.New("ASSAY_GITHUB_APP_ID is no number; it stands on the app's page at GitHub")
	}
	if s := os.Getenv("ASSAY_GITHUB_APP_INSTALLATION"); s != "" {
		if a.Installation, err = strconv.ParseInt(s, 10, 64); err != nil || a.Installation <= 0 {
			return o, errors.New("ASSAY_GITHUB_APP_INSTALLATION is no number; leave it out to use the installation in the catalog's repository")
		}
	}
	key := os.Getenv("ASSAY_GITHUB_APP_KEY")
	if a.Key = []byte(key); !strings.HasPrefix(strings.TrimSpace(key), "-----BEGIN") {
		if a.Key, err = os.ReadFile(key); err != nil {
			var named *fs.PathError // what is no file's name may be the key, in another form
			if errors.As(err, &named) {
				err = named.Err
			}
			return o, fmt.Errorf("read the app's private key: ASSAY_GITHUB_APP_KEY is neither PEM nor the path of a file that can be read: %w", err)
		}
	}
	o.App = a
	return o, nil
}

// A Client speaks with the API about one repository. Its methods may be called concurrently.
type Client struct {
	api         *github.Client
	app         *github.Client // speaks as the app itself; nil for a token
	owner, name string
	clock       Clock
	self        memo[struct{}, string] // its login
}

var validRepository = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]{0,99})/([A-Za-z0-9_.-]{1,100})$`)

// New makes a client. It sends nothing.
func New(o Options) (*Client, error) {
	m := validRepository.FindStringSubmatch(o.Repository)
	if m == nil || m[2] == "." || m[2] == ".." {
		return nil, fmt.Errorf("%q is no repository such as \"acme/catalog\"; name it in the catalog's gate block", o.Repository)
	}
	base, err := parseAPI(o.API)
	if err != nil {
		return nil, err
	}
	c := &Client{owner: m[1], name: m[2], clock: o.Clock}
	if c.clock == nil {
		c.clock = systemClock{}
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	retries := &retrying{next: bounding{o.Transport}, clock: c.clock}
	auth, err := c.authenticate(o, base, retries)
	if err != nil {
		return nil, err
	}
	c.api = github.NewClient(&http.Client{Transport: sameHost{base, auth}, CheckRedirect: stayOn(base)})
	c.api.BaseURL, c.api.UserAgent = base, "assay"
	return c, nil
}

// parseAPI refuses what would show a token to others.
func parseAPI(s string) (*url.URL, error) {
	if s == "" {
		s = publicAPI
	}
	u, err := url.Parse(strings.TrimSuffix(s, "/") + "/")
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the API's URL is malformed; set GITHUB_API_URL to one such as https://github.example.com/api/v3")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return nil, fmt.Errorf("the API at %s would be spoken with unencrypted, token and all; use https", u.Host)
	}
	return u, nil
}

// Repository is the one that the client speaks about, as "owner/name".
func (c *Client) Repository() string { return c.owner + "/" + c.name }
