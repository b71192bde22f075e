package iam

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kiln/lambda"
)

// DefaultProfile is the profile that OpenCredentials makes and that AWS's tools
// use unless told otherwise.
const DefaultProfile = "default"

// Credentials are the keys in a file of AWS's shared-credentials format. They do
// not change after OpenCredentials; it is safe for concurrent use.
type Credentials struct {
	keys     map[string]Key // by access key ID
	fallback Key            // the default profile's
}

var _ Keys = (*Credentials)(nil)

// OpenCredentials reads the file at path. If there is none, it makes one that only
// its owner can read, with a new key of the account in the default profile. Other
// profiles that people add to the file are accepted too; a profile without an
// aws_account_id belongs to the account.
func OpenCredentials(path, account, region string) (*Credentials, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createCredentials(path, account, region); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		content, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	return parseCredentials(path, string(content), account)
}

// Lookup implements Keys.
func (c *Credentials) Lookup(accessKeyID string) (Key, bool) {
	key, ok := c.keys[accessKeyID]
	return key, ok
}

// Default returns the key of the default profile.
func (c *Credentials) Default() Key { return c.fallback }

// createCredentials writes the file as a whole, unless someone else has meanwhile.
func createCredentials(path, account, region string) error {
	content := fmt.Sprintf(`# The keys that Kiln accepts, in the format of AWS's tools:
# AWS_SHARED_CREDENTIALS_FILE names this file to them.
[%s]
aws_access_key_id = %s
aws_secret_access_key = %s
aws_account_id = %s
region = %s
`, DefaultProfile, newAccessKeyID(), newSecret(), account, region)
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".credentials-") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// newAccessKeyID returns an ID in AWS's form.
func newAccessKeyID() string { return "AKIA" + rand.Text()[:16] }

// newSecret returns a secret in AWS's form: 40 characters of 6 bits each. AWS's
// may hold '/' and '+', which some tools get wrong; without them it is 238 bits.
func newSecret() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	secret := make([]byte, 0, 40)
	for len(secret) < cap(secret) {
		var b [64]byte
		rand.Read(b[:])
		for _, c := range b {
			// Bytes beyond a multiple of the alphabet would favour its beginning.
			if int(c) < 256/len(alphabet)*len(alphabet) && len(secret) < cap(secret) {
				secret = append(secret, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(secret)
}

// parseCredentials reads profiles, of which the default one is required.
func parseCredentials(path, content, account string) (*Credentials, error) {
	profiles := map[string]map[string]string{}
	profile := ""
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			profile = strings.TrimSpace(strings.TrimSuffix(name, "]"))
			if profiles[profile] == nil {
				profiles[profile] = map[string]string{}
			}
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok && profile != "" {
			profiles[profile][strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
	}
	c := &Credentials{keys: map[string]Key{}}
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		p := profiles[name]
		key := Key{AccessKeyID: p["aws_access_key_id"], Secret: p["aws_secret_access_key"], SessionToken: p["aws_session_token"], Account: account}
		if key.AccessKeyID == "" || key.Secret == "" {
			continue
		}
		if p["aws_account_id"] != "" {
			key.Account = p["aws_account_id"]
		}
		if len(key.Account) != 12 || strings.Trim(key.Account, "0123456789") != "" {
			return nil, fmt.Errorf("credentials: %s: the aws_account_id of profile %s must have 12 digits", path, name)
		}
		if other, ok := c.keys[key.AccessKeyID]; ok && (other.Secret != key.Secret || other.Account != key.Account || other.SessionToken != key.SessionToken) {
			return nil, fmt.Errorf("credentials: %s: two profiles differ about the key %s", path, key.AccessKeyID)
		}
		key.ARN = "arn:" + lambda.Partition + ":iam::" + key.Account + ":user/" + name
		if name == DefaultProfile {
			key.ARN = "arn:" + lambda.Partition + ":iam::" + key.Account + ":root"
			c.fallback = key
		}
		c.keys[key.AccessKeyID] = key
	}
	if c.fallback.Secret == "" {
		return nil, fmt.Errorf("credentials: %s has no key in the profile [%s]: delete the file to have a new one made", path, DefaultProfile)
	}
	return c, nil
}
