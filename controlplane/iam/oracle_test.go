package iam

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"

	"kiln/lambda"
)

const (
	testID     = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testRegion = "us-east-1"
)

var testTime = time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)

type keyMap map[string]Key

func (m keyMap) Lookup(id string) (Key, bool) {
	key, ok := m[id]
	return key, ok
}

func testKeys() keyMap {
	return keyMap{
		testID:      {AccessKeyID: testID, Secret: testSecret, Account: "123456789012", ARN: "arn:aws:iam::123456789012:root"},
		"ASIATOKEN": {AccessKeyID: "ASIATOKEN", Secret: "temporary", SessionToken: "token+/=", Account: "123456789012", ARN: "arn:aws:sts::123456789012:assumed-role/r/s", Expires: testTime.Add(time.Hour)},
	}
}

func testVerifier() *Verifier {
	v := NewVerifier(testKeys(), testRegion)
	v.Now = func() time.Time { return testTime }
	return v
}

var (
	permanent = aws.Credentials{AccessKeyID: testID, SecretAccessKey: testSecret}
	temporary = aws.Credentials{AccessKeyID: "ASIATOKEN", SecretAccessKey: "temporary", SessionToken: "token+/="}
)

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// fatal is what helpers need of *testing.T and *rapid.T.
type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newRequest(t fatal, method, target, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sign signs r with the SDK as its clients do.
func sign(t fatal, r *http.Request, by aws.Credentials, digest, service, region string, at time.Time) {
	t.Helper()
	if err := v4.NewSigner().SignHTTP(context.Background(), by, r, digest, service, region, at); err != nil {
		t.Fatal(err)
	}
}

// send returns the request as a server gets it.
func send(t fatal, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatalf("%v in\n%s", err, wire.String())
	}
	return got
}

// receive authenticates a request and reads its body.
func receive(v *Verifier, r *http.Request) (string, error) {
	if _, err := v.Authenticate(r); err != nil {
		return "", err
	}
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// anyTarget draws a URL whose path and query have all that is difficult.
func anyTarget(t *rapid.T) string {
	segment := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9:_.~$ -]{1,12}`), rapid.StringN(1, 6, 20), rapid.Just("arn:aws:lambda:us-east-1:123456789012:function:f"))
	var path strings.Builder
	for _, s := range rapid.SliceOfN(segment, 0, 5).Draw(t, "path") {
		path.WriteString("/" + url.PathEscape(s))
	}
	if rapid.Bool().Draw(t, "slash") {
		path.WriteString("/")
	}
	query := url.Values{}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9]{0,8}`), 0, 4, rapid.ID).Draw(t, "names") {
		if rapid.Bool().Draw(t, "several") {
			query[name] = rapid.SliceOfN(rapid.StringMatching(`[a-zA-Z0-9]{0,3}`), 1, 4).Draw(t, "values")
		} else {
			query.Set(name, rapid.String().Draw(t, "value"))
		}
	}
	target := "http://127.0.0.1:3001" + path.String()
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return target
}

func anyRequest(t *rapid.T) (*http.Request, string) {
	method := rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE", "PATCH"}).Draw(t, "method")
	body := rapid.String().Draw(t, "body")
	r := newRequest(t, method, anyTarget(t), body)
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`X-[A-Za-z]{1,6}(-[A-Za-z0-9]{1,4})?`), 0, 4, strings.ToLower).Draw(t, "headers") {
		// The wire trims values, and so does the canonical request.
		for _, value := range rapid.SliceOfN(rapid.StringMatching(` {0,2}[!-~]{0,5}( {1,3}[!-~é]{1,5}){0,3} {0,2}`), 1, 3).Draw(t, "values") {
			r.Header.Add(name, value)
		}
	}
	return r, body
}

func TestSDKHeaderSignatures(t *testing.T) {
	v := testVerifier()
	rapid.Check(t, func(t *rapid.T) {
		r, body := anyRequest(t)
		digest := digestOf(body)
		switch rapid.SampledFrom([]string{"none", "digest", "unsigned"}).Draw(t, "payload") {
		case "digest":
			r.Header.Set("X-Amz-Content-Sha256", digest)
		case "unsigned":
			digest = unsignedPayload
			r.Header.Set("X-Amz-Content-Sha256", digest)
		}
		by := rapid.SampledFrom([]aws.Credentials{permanent, temporary}).Draw(t, "by")
		off := time.Duration(rapid.IntRange(-300, 300).Draw(t, "off")) * time.Second
		sign(t, r, by, digest, "lambda", testRegion, testTime.Add(off))
		got := send(t, r)
		caller, err := v.Authenticate(got)
		if err != nil {
			t.Fatal(err)
		}
		if caller.AccessKeyID != by.AccessKeyID || caller.Account != "123456789012" {
			t.Fatalf("caller %+v", caller)
		}
		if read, err := io.ReadAll(got.Body); err != nil || string(read) != body {
			t.Fatalf("body %q, %v; sent %q", read, err, body)
		}
	})
}

func TestSDKPresignedRequests(t *testing.T) {
	v := testVerifier()
	rapid.Check(t, func(t *rapid.T) {
		r, body := anyRequest(t)
		expires := rapid.IntRange(0, 604800).Draw(t, "expires")
		query, age := r.URL.Query(), 300
		if expires > 0 {
			query.Set("X-Amz-Expires", strconv.Itoa(expires))
			r.URL.RawQuery, age = query.Encode(), expires
		}
		by := rapid.SampledFrom([]aws.Credentials{permanent, temporary}).Draw(t, "by")
		at := testTime.Add(-time.Duration(rapid.IntRange(-300, age).Draw(t, "age")) * time.Second)
		signed, headers, err := v4.NewSigner().PresignHTTP(context.Background(), by, r, digestOf(body), "lambda", testRegion, at)
		if err != nil {
			t.Fatal(err)
		}
		again := newRequest(t, r.Method, signed, body)
		again.Header = headers
		if got, err := receive(v, send(t, again)); err != nil || got != body {
			t.Fatalf("body %q, %v; sent %q\n%s", got, err, body, signed)
		}
	})
}

// TestChangedRequests changes one thing of a signed request at a time.
func TestChangedRequests(t *testing.T) {
	v := testVerifier()
	rapid.Check(t, func(t *rapid.T) {
		r, body := anyRequest(t)
		withDigest := rapid.Bool().Draw(t, "digest")
		if withDigest {
			r.Header.Set("X-Amz-Content-Sha256", digestOf(body))
		}
		r.Header.Set("X-Signed", "a b")
		sign(t, r, permanent, digestOf(body), "lambda", testRegion, testTime)
		got := send(t, r)
		want := lambda.CodeInvalidSignature
		switch change := rapid.IntRange(0, 9).Draw(t, "change"); change {
		case 0:
			got.Method = "HEAD"
		case 1:
			got.RequestURI = strings.Replace(got.RequestURI, "/", "/x", 1)
		case 2:
			got.URL.RawQuery += "&x="
		case 3:
			got.Header.Set("X-Signed", "a  b ") // the same
			want = ""
		case 4:
			got.Header.Add("X-Signed", "")
		case 5:
			got.Host = "elsewhere"
		case 6:
			got.Body = io.NopCloser(strings.NewReader(body + "x"))
		case 7:
			got.Header.Set("X-Amz-Date", testTime.Add(time.Second).Format(stampForm))
		case 8:
			header := got.Header.Get("Authorization")
			last := header[len(header)-1]
			got.Header.Set("Authorization", header[:len(header)-1]+string("0123456789abcdef"[(slices.Index([]byte("0123456789abcdef"), last)+1)%16]))
		case 9:
			got.Header.Set("X-Amz-Content-Sha256", digestOf(body+"x"))
		}
		if _, err := receive(v, got); lambda.CodeOf(err) != want {
			t.Fatalf("got %v, want code %q", err, want)
		}
	})
}
