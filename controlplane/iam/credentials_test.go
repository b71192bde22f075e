package iam

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestCredentialsAreMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	var opened [8]*Credentials
	var wg sync.WaitGroup
	for i := range opened {
		wg.Go(func() {
			c, err := OpenCredentials(path, "000000000000", testRegion)
			if err != nil {
				t.Error(err)
			}
			opened[i] = c
		})
	}
	wg.Wait()
	first := opened[0].Default()
	for _, c := range opened {
		if c.Default() != first {
			t.Errorf("%+v and %+v", c.Default(), first)
		}
	}
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(first.AccessKeyID) || !regexp.MustCompile(`^[A-Za-z0-9]{40}$`).MatchString(first.Secret) {
		t.Errorf("key %+v", first)
	}
	if first.Account != "000000000000" || first.ARN != "arn:aws:iam::000000000000:root" {
		t.Errorf("key %+v", first)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("file: %v, %v", info, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	if key, ok := opened[0].Lookup(first.AccessKeyID); !ok || key != first {
		t.Errorf("lookup: %+v, %v", key, ok)
	}
	if _, ok := opened[0].Lookup("AKIAUNKNOWN"); ok {
		t.Error("an unknown key is found")
	}
}

func TestCredentialsFile(t *testing.T) {
	const second = `
[ other ]
AWS_ACCESS_KEY_ID=AKIAOTHER
aws_secret_access_key = a=b/c+
aws_account_id = 123456789012
[nothing]
region = eu-west-1
`
	const first = "# comment\n; comment\n[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n"
	for name, test := range map[string]struct {
		content string
		want    string // of the error
	}{
		"two profiles":       {first + second, ""},
		"one key twice":      {first + "[same]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n", ""},
		"one key, two words": {first + "[same]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = t\n", "differ about the key AKIADEFAULT"},
		"no default":         {second, "no key in the profile [default]"},
		"empty":              {"", "no key in the profile [default]"},
		"account":            {first + "aws_account_id = 12\n", "must have 12 digits"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "credentials")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := OpenCredentials(path, "000000000000", testRegion)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if key := c.Default(); key.AccessKeyID != "AKIADEFAULT" || key.ARN != "arn:aws:iam::000000000000:root" {
				t.Errorf("default %+v", key)
			}
			if name == "two profiles" {
				if key, _ := c.Lookup("AKIAOTHER"); key.Secret != "a=b/c+" || key.ARN != "arn:aws:iam::123456789012:user/other" {
					t.Errorf("other %+v", key)
				}
			}
		})
	}
}
