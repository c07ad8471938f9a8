package forgetest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An app is a GitHub App that is installed in the repository.
type app struct {
	key         *rsa.PublicKey
	permissions Permissions
	tokens      int
}

// Install installs a GitHub App; its installation has the number of the app, and its tokens the permissions.
func (s *Server) Install(id int64, key *rsa.PublicKey, p Permissions) {
	s.locked(func() { s.apps[strconv.FormatInt(id, 10)] = app{key: key, permissions: p} })
}

// issuer verifies an app's JSON web token and returns the app's number.
func (c call) issuer() string {
	parts := strings.Split(strings.TrimPrefix(c.r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Iss string  `json:"iss"`
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || time.Unix(int64(claims.Exp), 0).Before(time.Now()) {
		return ""
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if a, ok := c.apps[claims.Iss]; err != nil || !ok || rsa.VerifyPKCS1v15(a.key, crypto.SHA256, sum[:], sig) != nil {
		return ""
	}
	return claims.Iss
}

func (c call) installation() {
	id, err := strconv.ParseInt(c.issuer(), 10, 64)
	if err != nil {
		refuse(c.w, http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	}
	u := fmt.Sprintf("https://api.github.com/app/installations/%d", id)
	c.json(http.StatusOK, object{"id": id, "app_id": id, "app_slug": "assay-app", "target_id": 1, "target_type": "Organization", "single_file_name": nil, "repository_selection": "selected",
		"access_tokens_url": u + "/access_tokens", "html_url": u, "repositories_url": u + "/repositories", "events": []any{}, "account": person("acme", "Organization"), "permissions": object{},
		"created_at": began, "updated_at": began, "suspended_by": nil, "suspended_at": nil})
}

func (c call) accessToken() {
	id := c.issuer()
	if id == "" || id != c.values["id"] {
		refuse(c.w, http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	}
	a := c.apps[id]
	a.tokens++
	c.apps[id] = a
	token := fmt.Sprintf("ghs_%s_%d", id, a.tokens)
	c.tokens[token] = a.permissions
	c.json(http.StatusCreated, object{"token": token, "expires_at": time.Now().Add(time.Hour).Format(time.RFC3339)})
}
