package serve

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestServesUntilTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- Serve(ctx, Options{Dir: t.TempDir(), Ready: func(a string) { ready <- a }}) }()
	resp, err := http.Get("http://" + <-ready + "/v2/_catalog")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"repositories":[]`) {
		t.Errorf("catalog: %s %s", resp.Status, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestListensOnLoopbackAlone(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, "127.3.4.5:5000": true,
		"0.0.0.0:5000": false, ":5000": false, "[::]:5000": false, "192.0.2.1:5000": false, "registry.example.com:5000": false, "nonsense": false,
	} {
		if err := checkAddr(addr, false); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := checkAddr("0.0.0.0:5000", true); err != nil {
		t.Error(err)
	}
}

func TestBadStorageIsAnError(t *testing.T) {
	if _, _, err := Handler("/dev/null/x"); err == nil {
		t.Error("a folder that can't be made was taken")
	}
}
