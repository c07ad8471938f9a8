package registry

import (
	"net/http"
	"strings"
)

// A challenge says how a host wants to be convinced.
type challenge struct {
	scheme string            // "bearer" or "basic"
	params map[string]string // keys in lower case
}

// pickChallenge returns the best of the challenges in an answer's WWW-Authenticate headers: bearer tokens before basic
// authentication. Others are not understood.
func pickChallenge(h http.Header) (challenge, bool) {
	var basic *challenge
	for _, value := range h.Values("WWW-Authenticate") {
		for _, c := range parseChallenges(value) {
			switch {
			case c.scheme == "bearer" && c.params["realm"] != "":
				return c, true
			case c.scheme == "basic" && basic == nil:
				basic = &c
			}
		}
	}
	if basic != nil {
		return *basic, true
	}
	return challenge{}, false
}

// parseChallenges reads one header value: schemes, each followed by parameters that commas separate (RFC 9110, 11.6.1). What can't
// be read ends the list.
func parseChallenges(s string) []challenge {
	var out []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		word, rest := cutToken(s)
		if word == "" {
			return out
		}
		if value, after, ok := cutValue(rest); ok { // a parameter of the challenge before
			if len(out) > 0 {
				out[len(out)-1].params[strings.ToLower(word)] = value
			}
			s = after
			continue
		}
		if rest != "" && rest[0] != ' ' && rest[0] != '\t' && rest[0] != ',' {
			return out
		}
		out = append(out, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
		s = rest
	}
}

func cutToken(s string) (token, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// cutValue reads "=value" or "=\"quoted value\"".
func cutValue(s string) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, "=") {
		return "", s, false
	}
	s = strings.TrimLeft(s[1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "", true
}
