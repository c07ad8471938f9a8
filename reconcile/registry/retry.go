package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// How long to wait before a request is repeated.
const (
	firstDelay    = 100 * time.Millisecond
	longestDelay  = 10 * time.Second
	longestRest   = 2 * time.Minute // a registry that asks for more is not waited for
	smallDeadline = time.Minute     // for a request and an answer that are small
	stallDeadline = 90 * time.Second
)

var errStalled = errors.New("nothing moved for a long time")

// backoff returns the delay after so many failed attempts (from 1), half of it random.
func backoff(failed int) time.Duration {
	d := firstDelay << min(failed-1, 10)
	d = min(d, longestDelay)
	return d/2 + rand.N(d/2+1)
}

// passing tells the statuses that may not last.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// full tells the statuses by which a host says that it has enough.
func full(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3). Zero if there is none that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, time.Duration(s)*time.Second)
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// mayPass tells errors of the connection that may not last from those that will.
func mayPass(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	var (
		dns       *net.DNSError
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		header    tls.RecordHeaderError
		refusal   *refusal
		local     *localError
	)
	switch {
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &verify), errors.As(err, &authority), errors.As(err, &header), errors.As(err, &refusal), errors.As(err, &local):
		return false
	}
	return true
}
