package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	google "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

const (
	layerSize = 2 << 30   // bytes
	mostBytes = 100 << 20 // of memory that the process may ever have had
)

// endless gives the same megabyte again and again.
type endless struct {
	block []byte
	off   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.block[e.off:])
	e.off = (e.off + n) % len(e.block)
	return n, nil
}

func generated() io.Reader {
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * i >> 7)
	}
	return io.LimitReader(&endless{block: block}, layerSize)
}

// blobs is where a registry keeps its blobs: the small ones in memory, and the large one nowhere. A source makes its bytes; a target
// throws them away, the registry before it having verified their digest.
type blobs struct {
	large v1.Hash // of the layer that generated gives
	mu    sync.Mutex
	small map[v1.Hash][]byte
	holds bool // the large one
}

func (b *blobs) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h == b.large && b.holds {
		return layerSize, nil
	}
	if content, ok := b.small[h]; ok {
		return int64(len(content)), nil
	}
	return 0, google.ErrNotFound
}

func (b *blobs) Get(ctx context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	if _, err := b.Stat(ctx, repo, h); err != nil {
		return nil, err
	}
	if h == b.large {
		return io.NopCloser(generated()), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return io.NopCloser(bytes.NewReader(b.small[h])), nil
}

func (b *blobs) Put(_ context.Context, _ string, h v1.Hash, rc io.ReadCloser) error {
	if h == b.large {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, rc, make([]byte, 1<<20))
		b.mu.Lock()
		defer b.mu.Unlock()
		b.holds = b.holds || err == nil
		return err
	}
	content, err := io.ReadAll(rc)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.small[h] = content
	return err
}

func TestALargeLayerIsCopiedInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves two gibibytes")
	}
	if highWater(os.Getpid()) == 0 {
		t.Skip("there is no /proc here to read the memory of a process from")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, generated()); err != nil {
		t.Fatal(err)
	}
	large := v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sum.Sum(nil))}
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, large)
	configured, _, err := v1.SHA256(strings.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`, configured, len(config), large, layerSize)
	quiet := google.Logger(log.New(io.Discard, "", 0))
	kept := &blobs{large: large, holds: true, small: map[v1.Hash][]byte{configured: []byte(config)}}
	w := &world{t: t, dir: t.TempDir(), source: registrytest.Start(t, google.New(quiet, google.WithBlobHandler(kept)))}
	putManifest(t, w.source.Host, "/v2/large/manifests/1", manifest)

	// Just before the tag is written, the target looks how much memory the process has had: the kernel's own figure for an ended
	// process would include that of the test, from which it was forked.
	received := &blobs{large: large, small: map[v1.Hash][]byte{}}
	registry := google.New(quiet, google.WithBlobHandler(received))
	var pid, peak atomic.Int64
	w.eu = registrytest.Start(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") {
			peak.Store(highWater(int(pid.Load())))
		}
		registry.ServeHTTP(rw, r)
	}))
	w.git("init", "-q", "-b", "main", w.catalog())
	w.write("catalog.hcl", fmt.Sprintf("scope \"acme\" {\n  level = \"organization\"\n}\nregistry \"main\" {\n  address = \"%s/approved\"\n}\n%s",
		w.eu.Host, w.image("large", "1 "+sha256Of(manifest))))
	w.git("-C", w.catalog(), "add", "-A")
	w.git("-C", w.catalog(), "commit", "-q", "-m", "one")

	cmd := w.command("reconcile", "--catalog", w.catalog(), "--cache", w.cache())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid.Store(int64(cmd.Process.Pid))
	if err := cmd.Wait(); err != nil || !received.holds {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Logf("%d MiB copied; at most %d MiB of memory; %v of processor time", layerSize>>20, peak.Load()>>20, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if got := peak.Load(); got == 0 || got > mostBytes {
		t.Errorf("%d bytes of memory, more than %d", got, mostBytes)
	}
	if n := w.source.Sent(); n < layerSize || n > layerSize+1<<20 {
		t.Errorf("the source sent %d bytes", n)
	}
}

// highWater returns the most resident memory, in bytes, that a process has had since its program was started; zero if that isn't known.
func highWater(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

func putManifest(t *testing.T, host, path, manifest string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+path, strings.NewReader(manifest))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("put %s: %s", path, resp.Status)
	}
}
