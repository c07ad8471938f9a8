package sign

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A secret is what `cosign generate-key-pair k8s://namespace/name` makes.
type secret struct{ private, password []byte }

// Where a pod finds the API server and its own credentials (Kubernetes, "Accessing the Kubernetes API from a Pod"). Outside of a cluster a secret can't
// be read: whoever can read it there can also hand it over as env://.
const (
	accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"
	hostVariable  = "KUBERNETES_SERVICE_HOST"
	portVariable  = "KUBERNETES_SERVICE_PORT"
)

// secretName is namespace/name (RFC 1123 labels and subdomains).
var secretName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// readSecret reads a key's secret from the API server of the cluster that this process runs in.
func readSecret(ctx context.Context, name string) (secret, error) {
	c, err := inCluster(accountFolder)
	if err != nil {
		return secret{}, err
	}
	return c.secret(ctx, name)
}

// cluster is the API server of a Kubernetes cluster.
type cluster struct {
	base   string
	token  string
	client *http.Client
}

func inCluster(folder string) (cluster, error) {
	host, port := os.Getenv(hostVariable), os.Getenv(portVariable)
	if host == "" || port == "" {
		return cluster{}, fmt.Errorf("this is no pod of a Kubernetes cluster (%s is not set); outside of one use env:// or a file", hostVariable)
	}
	token, err := os.ReadFile(filepath.Join(folder, "token"))
	if err != nil {
		return cluster{}, fmt.Errorf("read the service account's token: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return cluster{}, fmt.Errorf("read the cluster's certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return cluster{}, errors.New("the cluster's certificate authority can't be parsed")
	}
	return cluster{
		base:   "https://" + net.JoinHostPort(host, port),
		token:  strings.TrimSpace(string(token)),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	}, nil
}

// maxSecret bounds a secret; Kubernetes allows 1 MiB.
const maxSecret = 2 << 20

func (c cluster) secret(ctx context.Context, name string) (secret, error) {
	namespace, name, _ := strings.Cut(name, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/v1/namespaces/"+url.PathEscape(namespace)+"/secrets/"+url.PathEscape(name), nil)
	if err != nil {
		return secret{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.client.Do(req)
	if err != nil {
		return secret{}, fmt.Errorf("ask the cluster: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden, http.StatusUnauthorized:
		return secret{}, fmt.Errorf("the service account may not read it (%s); give it the verb get on secrets, for this name alone", resp.Status)
	default:
		return secret{}, fmt.Errorf("the cluster answered %s", resp.Status)
	}
	var found struct {
		Data map[string][]byte `json:"data"` // base64 in JSON
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxSecret)).Decode(&found); err != nil {
		return secret{}, fmt.Errorf("the cluster's answer can't be read: %w", err)
	}
	out := secret{private: found.Data["cosign.key"], password: found.Data["cosign.password"]}
	if len(out.private) == 0 {
		return secret{}, errors.New(`it holds no "cosign.key"; make it with cosign generate-key-pair k8s://…`)
	}
	return out, nil
}
