package iam

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"sync"
)

// maxSigningKeys bounds the cache of signing keys.
const maxSigningKeys = 1024

// signingKeys caches the keys that are derived from secrets, each for one day,
// region and service. The zero value is empty.
type signingKeys struct {
	mu   sync.RWMutex
	keys map[signingKeyOf][sha256.Size]byte
}

// signingKeyOf is what a signing key is derived from, so that a secret that is
// replaced has other signing keys at once.
type signingKeyOf struct{ secret, date, region, service string }

// get returns the signing key for a signature's scope, which was checked.
func (c *signingKeys) get(key Key, s *signature) [sha256.Size]byte {
	of := signingKeyOf{key.Secret, s.date, s.region, s.service}
	c.mu.RLock()
	signingKey, ok := c.keys[of]
	c.mu.RUnlock()
	if ok {
		return signingKey
	}
	signingKey = mac([]byte("AWS4"+of.secret), []byte(of.date))
	for _, step := range []string{of.region, of.service, terminator} {
		signingKey = mac(signingKey[:], []byte(step))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxSigningKeys {
		c.keys = map[signingKeyOf][sha256.Size]byte{}
	}
	// The parts of the scope are parts of the request's headers: keep copies.
	of.date, of.region, of.service = strings.Clone(of.date), strings.Clone(of.region), strings.Clone(of.service)
	c.keys[of] = signingKey
	return signingKey
}

func mac(key, text []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}
