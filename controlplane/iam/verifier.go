package iam

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"kiln/controlplane"
	"kiln/lambda"
)

const (
	// skew is how far a client's clock may be off, either way.
	skew = 5 * time.Minute
	// maxExpiry is the longest that a presigned request may be good for.
	maxExpiry = 7 * 24 * time.Hour

	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	stampForm  = "20060102T150405Z"

	// mismatch is AWS's answer to any request that is not what was signed.
	mismatch = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	invalidToken = "The security token included in the request is invalid."
	expiredToken = "The security token included in the request is expired"
)

// Verifier authenticates requests that are signed with Signature Version 4, in
// the Authorization header or in the query. The fields may be set before the
// first use; Authenticate is safe for concurrent use.
type Verifier struct {
	// Keys are those that requests may be signed with.
	Keys Keys
	// Region is the only one that requests may be signed for.
	Region string
	// Service returns the name that a request must be signed for. The default
	// tells the APIs of one endpoint apart: "logs" by its target header, "lambda"
	// for everything else.
	Service func(*http.Request) string
	// Now is the clock.
	Now func() time.Time
	// MaxBodyBytes bounds the bodies that are read before their signature can be
	// checked, because the client sent no digest.
	MaxBodyBytes int64

	signingKeys signingKeys
}

// NewVerifier returns a Verifier for one region, with the defaults.
func NewVerifier(keys Keys, region string) *Verifier {
	return &Verifier{
		Keys: keys, Region: region, Now: time.Now, MaxBodyBytes: lambda.MaxControlRequestBytes,
		Service: func(r *http.Request) string {
			if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "Logs_") {
				return "logs"
			}
			return "lambda"
		},
	}
}

// Authenticate returns who signed the request. Errors are *lambda.Error with
// AWS's words.
//
// It may replace r.Body. The new body fails with a *lambda.Error at its end, at
// the latest, if it is not the one that was signed, so nothing may be done with a
// body before all of it is read. A body that was read here has a method
// Bytes() []byte, whose result must not be changed. Bodies in signed chunks
// (aws-chunked) are decoded, and r.ContentLength and r.Header say so.
func (v *Verifier) Authenticate(r *http.Request) (controlplane.Caller, error) {
	s, err := parse(r)
	if err != nil {
		return controlplane.Caller{}, err
	}
	now := v.Now()
	key, ok := v.Keys.Lookup(s.accessKeyID)
	if !ok || subtle.ConstantTimeCompare([]byte(key.SessionToken), []byte(s.token)) == 0 {
		return controlplane.Caller{}, lambda.Errorf(lambda.CodeUnrecognizedClient, invalidToken)
	}
	if !key.Expires.IsZero() && !now.Before(key.Expires) {
		return controlplane.Caller{}, lambda.Errorf(lambda.CodeUnrecognizedClient, expiredToken)
	}
	if err := s.checkTime(now); err != nil {
		return controlplane.Caller{}, err
	}
	if err := s.checkScope(v.Region, v.Service(r)); err != nil {
		return controlplane.Caller{}, err
	}
	if s.payload == "" {
		if s.payload, err = v.readBody(r); err != nil {
			return controlplane.Caller{}, err
		}
	}
	signingKey := v.signingKeys.get(key, s)
	if !s.matches(r, signingKey) {
		return controlplane.Caller{}, lambda.Errorf(lambda.CodeInvalidSignature, mismatch)
	}
	if err := s.protectBody(r, signingKey, v.MaxBodyBytes); err != nil {
		return controlplane.Caller{}, err
	}
	return controlplane.Caller{Account: key.Account, ARN: key.ARN, AccessKeyID: key.AccessKeyID}, nil
}

// checkTime refuses signatures of another time than now.
func (s *signature) checkTime(now time.Time) error {
	now = now.UTC()
	life := skew
	if s.presigned {
		life = s.expires
	}
	if earliest := now.Add(-life); s.time.Before(earliest.Truncate(time.Second)) {
		return lambda.Errorf(lambda.CodeInvalidSignature, "Signature expired: %s is now earlier than %s (%s - %s)",
			s.stamp, earliest.Format(stampForm), now.Format(stampForm), inWords(life))
	}
	if latest := now.Add(skew); s.time.After(latest) {
		return lambda.Errorf(lambda.CodeInvalidSignature, "Signature not yet current: %s is still later than %s (%s + %s)",
			s.stamp, latest.Format(stampForm), now.Format(stampForm), inWords(skew))
	}
	return nil
}

func inWords(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min.", d/time.Minute)
	}
	return fmt.Sprintf("%d sec.", d/time.Second)
}

// checkScope refuses signatures for another place than this.
func (s *signature) checkScope(region, service string) error {
	var wrong []string
	if s.region != region {
		wrong = append(wrong, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'. ", s.region))
	}
	if s.service != service {
		wrong = append(wrong, fmt.Sprintf("Credential should be scoped to correct service: '%s'. ", service))
	}
	if s.terminator != terminator {
		wrong = append(wrong, fmt.Sprintf("Credential should be scoped with a valid terminator: '%s', not '%s'. ", terminator, s.terminator))
	}
	if s.date != s.stamp[:8] {
		wrong = append(wrong, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'. ",
			s.date, s.stamp[:8], s.stamp))
	}
	if !signs(s.signedHeaders, "host") {
		wrong = append(wrong, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization. ")
	}
	if len(wrong) > 0 {
		return lambda.Errorf(lambda.CodeInvalidSignature, "%s", strings.Join(wrong, ""))
	}
	return nil
}

// signs reports whether a list of signed headers has name.
func signs(list, name string) bool {
	for signed := range strings.SplitSeq(list, ";") {
		if signed == name {
			return true
		}
	}
	return false
}

// matches computes the signature of the request and compares.
func (s *signature) matches(r *http.Request, signingKey [sha256.Size]byte) bool {
	var given [sha256.Size]byte
	if n, err := hex.Decode(given[:], []byte(s.value)); err != nil || n != len(given) {
		return false
	}
	path := requestPath(r)
	if s.matchesPath(r, path, signingKey, given) {
		return true
	}
	// Some clients sign the path as it is sent, others without "." and empty
	// elements. AWS knows the latter.
	plain := normalizePath(path)
	return plain != path && s.matchesPath(r, plain, signingKey, given)
}

func (s *signature) matchesPath(r *http.Request, path string, signingKey, given [sha256.Size]byte) bool {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	request := appendCanonicalRequest((*buffer)[:0], r, path, s)
	digest := sha256.Sum256(request)
	text := s.appendStringToSign(request[:0], algorithm)
	text = hex.AppendEncode(text, digest[:])
	*buffer = text
	sum := mac(signingKey[:], text)
	return subtle.ConstantTimeCompare(sum[:], given[:]) == 1
}

// appendStringToSign appends what every string to sign begins with.
func (s *signature) appendStringToSign(b []byte, kind string) []byte {
	for _, part := range []string{kind, "\n", s.stamp, "\n", s.date, "/", s.region, "/", s.service, "/", s.terminator, "\n"} {
		b = append(b, part...)
	}
	return b
}
