package sign

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"
)

// maxTrust bounds a trusted root and a signing configuration, in bytes. The public instance's have a few thousand.
const maxTrust = 1 << 20

// An Instance is one deployment of Sigstore: whom to believe, and where to sign.
type Instance struct {
	Certificates *Certificates
	services     services
}

// services are those that a signing configuration selects: one that issues certificates, and those that each signature must be brought before.
type services struct {
	fulcio string
	logs   []root.Service
	clocks []string
}

// OpenInstance reads the instance that a keyless signer names. Where it names none it is the public one, whose files come by TUF from
// https://tuf-repo-cdn.sigstore.dev and are kept in the folder; they are asked for again after a day.
func OpenInstance(ctx context.Context, k reconcile.Keyless, folder string) (*Instance, error) {
	if k.TrustedRoot == "" && k.SigningConfig == "" {
		return publicInstance(ctx, folder)
	}
	if k.TrustedRoot == "" || k.SigningConfig == "" {
		return nil, errors.New("a Sigstore instance needs both a trusted root and a signing configuration")
	}
	trusted, err := ParseTrustedRoot([]byte(k.TrustedRoot))
	if err != nil {
		return nil, err
	}
	if len(k.SigningConfig) > maxTrust {
		return nil, fmt.Errorf("the signing configuration is larger than %d bytes", maxTrust)
	}
	config, err := root.NewSigningConfigFromJSON([]byte(k.SigningConfig))
	if err != nil {
		return nil, fmt.Errorf("the signing configuration can't be read: %w", err)
	}
	return newInstance(trusted, config, time.Now())
}

// ParseTrustedRoot reads a trusted_root.json.
func ParseTrustedRoot(b []byte) (*Certificates, error) {
	if len(b) > maxTrust {
		return nil, fmt.Errorf("the trusted root is larger than %d bytes", maxTrust)
	}
	material, err := root.NewTrustedRootFromJSON(b)
	if err != nil {
		return nil, fmt.Errorf("the trusted root can't be read: %w", err)
	}
	return NewCertificates(material)
}

// PublicCertificates trusts the public Sigstore instance; see OpenInstance.
func PublicCertificates(ctx context.Context, folder string) (*Certificates, error) {
	i, err := publicInstance(ctx, folder)
	if err != nil {
		return nil, err
	}
	return i.Certificates, nil
}

func publicInstance(ctx context.Context, folder string) (*Instance, error) {
	return fetchInstance(ctx, tuf.DefaultOptions().WithCachePath(folder).WithCacheValidity(1))
}

// fetchInstance reads an instance's files from its TUF repository.
func fetchInstance(ctx context.Context, o *tuf.Options) (*Instance, error) {
	f := fetcher.NewDefaultFetcher()
	f.SetHTTPClient(&http.Client{Transport: &honest{ctx, o.RepositoryBaseURL}}) // by itself it would wait without end
	client, err := tuf.New(o.WithContext(ctx).WithFetcher(f))
	if err != nil {
		return nil, fmt.Errorf("read the public Sigstore instance's trusted root: %w (to need no network for it, name trusted_root and signing_config in the catalog)", plain(err, ""))
	}
	material, err := root.GetTrustedRoot(client)
	if err != nil {
		return nil, fmt.Errorf("read the public Sigstore instance's trusted root: %w", plain(err, ""))
	}
	config, err := root.GetSigningConfig(client)
	if err != nil {
		return nil, fmt.Errorf("read the public Sigstore instance's signing configuration: %w", plain(err, ""))
	}
	trusted, err := NewCertificates(material)
	if err != nil {
		return nil, err
	}
	return newInstance(trusted, config, time.Now())
}

func newInstance(trusted *Certificates, config *root.SigningConfig, now time.Time) (*Instance, error) {
	s, err := selectServices(config, now)
	if err != nil {
		return nil, fmt.Errorf("the signing configuration can't be used: %w", err)
	}
	if len(s.logs) == 0 && trusted.logged {
		return nil, errors.New("the signing configuration names no transparency log, and the trusted root demands an entry in one: what is signed would not count")
	}
	return &Instance{Certificates: trusted, services: s}, nil
}

func selectServices(config *root.SigningConfig, now time.Time) (out services, err error) {
	ca, err := root.SelectService(config.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now)
	if err != nil {
		return out, fmt.Errorf("certificate authority: %w", err)
	}
	if err := checkSecret(ca.URL); err != nil {
		return out, err
	}
	out.fulcio = ca.URL
	if known := config.RekorLogURLs(); len(known) > 0 {
		if out.logs, err = root.SelectServices(known, config.RekorLogURLsConfig(), sign.RekorAPIVersions, now); err != nil {
			return out, fmt.Errorf("transparency log: %w", err)
		}
	}
	if known := config.TimestampAuthorityURLs(); len(known) > 0 {
		found, err := root.SelectServices(known, config.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
		if err != nil {
			return out, fmt.Errorf("timestamp authority: %w", err)
		}
		for _, f := range found {
			out.clocks = append(out.clocks, f.URL)
		}
	}
	return out, nil
}

// checkSecret sees that an identity token sent to the URL is read by nobody on its way.
func checkSecret(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is no URL", clip(raw))
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && (u.Hostname() == "localhost" || ip.IsLoopback()) {
		return nil
	}
	if u.Scheme != "https" {
		return fmt.Errorf("%q must be an https URL, since an identity token is sent there", clip(raw))
	}
	return nil
}
