package source

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, signer
}

// serveSSH runs an ssh server on loopback that gives whoever has the key git-upload-pack. It returns its address.
func serveSSH(t *testing.T, host ssh.Signer, client ssh.PublicKey) string {
	t.Helper()
	program, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	settings := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	settings.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveConn(conn, settings, program)
		}
	}()
	return l.Addr().String()
}

func serveConn(conn net.Conn, settings *ssh.ServerConfig, program string) {
	_, channels, requests, err := ssh.NewServerConn(conn, settings)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				if r.Type != "exec" {
					_ = r.Reply(false, nil)
					continue
				}
				_ = r.Reply(true, nil)
				var command struct{ Line string }
				_ = ssh.Unmarshal(r.Payload, &command)
				dir := strings.Trim(strings.TrimPrefix(command.Line, "git-upload-pack "), "'")
				cmd := exec.Command(program, "upload-pack", dir)
				cmd.Stdin, cmd.Stdout = channel, channel
				status := struct{ Code uint32 }{}
				if cmd.Run() != nil {
					status.Code = 1
				}
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
				_ = channel.Close()
			}
		}()
	}
}

// serveAgent runs an ssh agent that holds the key.
func serveAgent(t *testing.T, key ed25519.PrivateKey) {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn) }()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", l.Addr().String())
}

func TestSSHTakesItsKeysFromTheAgentAndChecksTheHost(t *testing.T) {
	c := newCheckout(t)
	h := c.commit(0, "x.hcl", "one")
	bare := c.bare()
	key, signer := newKey(t)
	_, host := newKey(t)
	address := serveSSH(t, host, signer.PublicKey())
	serveAgent(t, key)
	location := "ssh://git@" + address + bare

	known := filepath.Join(t.TempDir(), "known_hosts")
	t.Setenv("SSH_KNOWN_HOSTS", known)
	_, other := newKey(t)
	for _, k := range []ssh.Signer{other, host} {
		if err := writeFile(known, knownhosts.Line([]string{address}, k.PublicKey())+"\n"); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), location, Options{})
		if k == other {
			if err == nil || !strings.Contains(err.Error(), "knownhosts") {
				t.Errorf("a host with another key is trusted: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.Commit() != h || read(t, s.FS(), "x.hcl") != "one" {
			t.Error(s.Commit())
		}
		if tip, err := s.Tip(t.Context()); err != nil || tip != h {
			t.Error(tip, err)
		}
	}
}

func TestShortFormsOfSSHLocationsAreURLs(t *testing.T) {
	for in, want := range map[string]string{
		"git@git.example.com:acme/catalog.git":  "ssh://git@git.example.com/acme/catalog.git",
		"git@git.example.com:/acme/catalog.git": "ssh://git@git.example.com/acme/catalog.git",
	} {
		if l, err := parseLocation(in); err != nil || l.String() != want {
			t.Errorf("%s: %s %v", in, l, err)
		}
	}
	if l, err := parseLocation("-oProxyCommand=x@h:p"); err != nil || l.dir == "" {
		t.Errorf("%v %v", l, err)
	}
}
