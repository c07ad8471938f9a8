// Package serve runs a whole OCI registry in this process: CNCF distribution, with a folder as its storage and with deletion
// enabled. It is for trying Assay out, for tests, and for mirrors on one machine; it asks nobody for a password and so listens
// on loopback addresses alone, unless told otherwise.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"
)

// Options say where to listen and what to serve.
type Options struct {
	Addr     string               // "host:port"; empty means a free port of 127.0.0.1
	Dir      string               // the folder that holds the content; it is made if it doesn't exist; empty means memory
	Anywhere bool                 // listen on an address that other machines can reach, without a password
	Ready    func(address string) // if set, called once requests are answered, with the host and port
}

// Serve answers requests until the context is done; ending that way is no error. Uploads under way are given five seconds.
func Serve(ctx context.Context, o Options) error {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if err := checkAddr(o.Addr, o.Anywhere); err != nil {
		return err
	}
	handler, stop, err := Handler(o.Dir)
	if err != nil {
		return err
	}
	defer stop()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("serve registry: listen on %s: %w", o.Addr, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if o.Ready != nil {
		o.Ready(listener.Addr().String())
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
		err = <-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve registry on %s: %w", o.Addr, err)
}

// quiet silences the program-wide log that distribution writes to.
var quiet = sync.OnceFunc(func() { logrus.SetOutput(io.Discard); logrus.SetLevel(logrus.PanicLevel) })

// Handler returns the registry as a handler, for a server of the caller's own, and a function that ends its background work. An
// empty dir keeps the content in memory.
func Handler(dir string) (h http.Handler, stop func(), err error) {
	quiet()
	storage := configuration.Storage{
		"delete":      {"enabled": true},
		"cache":       {"blobdescriptor": "inmemory"},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}
	if dir == "" {
		storage["inmemory"] = configuration.Parameters{}
	} else {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, fmt.Errorf("serve registry: %w", err)
		}
		storage["filesystem"] = configuration.Parameters{"rootdirectory": dir}
	}
	config := &configuration.Configuration{Version: "0.1", Storage: storage}
	config.Catalog.MaxEntries = 1000
	config.Tags.MaxTags = 1000
	config.HTTP.RelativeURLs = true // so that it works behind any host name
	defer func() {
		if r := recover(); r != nil { // this is how distribution reports bad storage
			err = fmt.Errorf("serve registry from %s: %v", dir, r)
		}
	}()
	app := handlers.NewApp(context.Background(), config)
	return app, func() { _ = app.Shutdown() }, nil
}

// checkAddr refuses addresses that other machines can reach.
func checkAddr(addr string, anywhere bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("serve registry: %q is not host:port, as in \"127.0.0.1:5000\"", addr)
	}
	ip := net.ParseIP(host)
	if anywhere || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("serve registry: %q can be reached from other machines, and everyone could write to it; use a loopback address", addr)
}
