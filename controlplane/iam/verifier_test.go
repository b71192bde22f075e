package iam

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"kiln/lambda"
)

// TestRefusals compares errors with AWS's words.
func TestRefusals(t *testing.T) {
	const target = "http://localhost:3001/2015-03-31/functions?MaxItems=1"
	signedBy := func(by aws.Credentials, service, region string, at time.Time) func() *http.Request {
		return func() *http.Request {
			r := newRequest(t, "POST", target, "body")
			sign(t, r, by, digestOf("body"), service, region, at)
			return r
		}
	}
	good := signedBy(permanent, "lambda", testRegion, testTime)
	edited := func(edit func(r *http.Request)) func() *http.Request {
		return func() *http.Request { r := good(); edit(r); return r }
	}
	authorization := func(value string) func() *http.Request {
		return edited(func(r *http.Request) { r.Header.Set("Authorization", value) })
	}
	replaced := func(old, new string) func() *http.Request {
		return edited(func(r *http.Request) {
			before := r.Header.Get("Authorization")
			after := strings.Replace(before, old, new, 1)
			if after == before {
				t.Fatal("nothing to replace: ", old)
			}
			r.Header.Set("Authorization", after)
		})
	}
	query := func(change func(url.Values)) func() *http.Request {
		return func() *http.Request {
			values := url.Values{"X-Amz-Algorithm": {algorithm}, "X-Amz-Credential": {testID + "/20261122/us-east-1/lambda/aws4_request"},
				"X-Amz-Date": {"20261122T235900Z"}, "X-Amz-SignedHeaders": {"host"}, "X-Amz-Signature": {strings.Repeat("0", 64)}}
			change(values)
			return newRequest(t, "GET", "http://localhost:3001/?"+values.Encode(), "")
		}
	}
	payload := func(header string) func() *http.Request {
		return func() *http.Request {
			r := newRequest(t, "POST", target, "body")
			r.Header.Set("X-Amz-Content-Sha256", header)
			sign(t, r, permanent, header, "lambda", testRegion, testTime)
			return r
		}
	}
	const notDigest = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, or a valid sha256 value."
	for name, test := range map[string]struct {
		request func() *http.Request
		code    lambda.Code
		message string
	}{
		"no signature": {edited(func(r *http.Request) { r.Header.Del("Authorization") }),
			lambda.CodeMissingAuthentication, "Missing Authentication Token"},
		"another scheme": {authorization("Bearer abc"), lambda.CodeIncompleteSignature,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=Bearer abc"},
		"nothing but a scheme": {func() *http.Request {
			r := newRequest(t, "GET", target, "")
			r.Header.Set("Authorization", "x")
			return r
		}, lambda.CodeIncompleteSignature,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=x"},
		"no pairs": {authorization("AWS4-HMAC-SHA256 abc, Signature=1"), lambda.CodeIncompleteSignature,
			"'abc' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 abc, Signature=1'."},
		"short credential": {authorization("AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=1"), lambda.CodeIncompleteSignature,
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c'"},
		"date": {edited(func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }), lambda.CodeIncompleteSignature,
			"Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601"},
		"header names": {replaced("SignedHeaders=", "SignedHeaders=a\tb;"), lambda.CodeIncompleteSignature,
			"'a\tb;content-length;host;x-amz-date' is not a valid list of signed headers."},
		"unknown key": {signedBy(aws.Credentials{AccessKeyID: "AKIAUNKNOWN", SecretAccessKey: "x"}, "lambda", testRegion, testTime),
			lambda.CodeUnrecognizedClient, invalidToken},
		"without its token": {signedBy(aws.Credentials{AccessKeyID: "ASIATOKEN", SecretAccessKey: "temporary"}, "lambda", testRegion, testTime),
			lambda.CodeUnrecognizedClient, invalidToken},
		"wrong token": {signedBy(aws.Credentials{AccessKeyID: "ASIATOKEN", SecretAccessKey: "temporary", SessionToken: "x"}, "lambda", testRegion, testTime),
			lambda.CodeUnrecognizedClient, invalidToken},
		"token of none": {signedBy(aws.Credentials{AccessKeyID: testID, SecretAccessKey: testSecret, SessionToken: "x"}, "lambda", testRegion, testTime),
			lambda.CodeUnrecognizedClient, invalidToken},
		"wrong secret": {signedBy(aws.Credentials{AccessKeyID: testID, SecretAccessKey: "x"}, "lambda", testRegion, testTime),
			lambda.CodeInvalidSignature, mismatch},
		"old": {signedBy(permanent, "lambda", testRegion, testTime.Add(-301*time.Second)), lambda.CodeInvalidSignature,
			"Signature expired: 20261122T235359Z is now earlier than 20261122T235400Z (20261122T235900Z - 5 min.)"},
		"early": {signedBy(permanent, "lambda", testRegion, testTime.Add(301*time.Second)), lambda.CodeInvalidSignature,
			"Signature not yet current: 20261123T000401Z is still later than 20261123T000400Z (20261122T235900Z + 5 min.)"},
		"region": {signedBy(permanent, "lambda", "eu-west-1", testTime), lambda.CodeInvalidSignature,
			"Credential should be scoped to a valid region, not 'eu-west-1'. "},
		"service": {signedBy(permanent, "s3", testRegion, testTime), lambda.CodeInvalidSignature,
			"Credential should be scoped to correct service: 'lambda'. "},
		"service of a target": {edited(func(r *http.Request) { r.Header.Set("X-Amz-Target", "Logs_20140328.GetLogEvents") }), lambda.CodeInvalidSignature,
			"Credential should be scoped to correct service: 'logs'. "},
		"terminator": {replaced("aws4_request", "aws5_request"), lambda.CodeInvalidSignature,
			"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "},
		"date of the scope": {replaced("20261122", "20261121"), lambda.CodeInvalidSignature,
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261121' != '20261122', from '20261122T235900Z'. "},
		"host not signed": {replaced("host;", ""), lambda.CodeInvalidSignature,
			"'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization. "},
		"short signature": {authorization("AWS4-HMAC-SHA256 Credential=" + testID + "/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00"),
			lambda.CodeInvalidSignature, mismatch},
		"payload word":    {payload("NONE"), lambda.CodeInvalidSignature, notDigest},
		"short digest":    {payload(digestOf("body")[:62]), lambda.CodeInvalidSignature, notDigest},
		"long digest":     {payload(digestOf("body") + "00"), lambda.CodeInvalidSignature, notDigest},
		"digest of words": {payload(strings.Repeat("xy", 32)), lambda.CodeInvalidSignature, notDigest},
		"digest of no body": {func() *http.Request {
			r := newRequest(t, "POST", target, "")
			r.Header.Set("X-Amz-Content-Sha256", digestOf("x"))
			sign(t, r, permanent, digestOf("x"), "lambda", testRegion, testTime)
			return r
		}, lambda.CodeInvalidSignature, mismatch},
		"body too large": {func() *http.Request {
			body := strings.Repeat("x", 101)
			r := newRequest(t, "POST", target, body)
			sign(t, r, permanent, digestOf(body), "lambda", testRegion, testTime)
			return r
		}, lambda.CodeRequestTooLarge, "Request must be smaller than 100 bytes"},
		"presigned, incomplete": {query(func(q url.Values) { q.Del("X-Amz-Credential"); q.Del("X-Amz-Date") }), lambda.CodeIncompleteSignature,
			"AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."},
		"presigned, algorithm": {query(func(q url.Values) { q.Set("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256") }), lambda.CodeIncompleteSignature,
			"Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."},
		"presigned, expires": {query(func(q url.Values) { q.Set("X-Amz-Expires", "604801") }), lambda.CodeIncompleteSignature,
			"X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"},
		"presigned, expires never": {query(func(q url.Values) { q.Set("X-Amz-Expires", "never") }), lambda.CodeIncompleteSignature,
			"X-Amz-Expires should be a number"},
		"presigned, expired": {query(func(q url.Values) { q.Set("X-Amz-Expires", "90"); q.Set("X-Amz-Date", "20261122T235729Z") }), lambda.CodeInvalidSignature,
			"Signature expired: 20261122T235729Z is now earlier than 20261122T235730Z (20261122T235900Z - 90 sec.)"},
		"presigned, signature": {query(func(url.Values) {}), lambda.CodeInvalidSignature, mismatch},
	} {
		t.Run(name, func(t *testing.T) {
			v := testVerifier()
			v.MaxBodyBytes = 100
			_, err := receive(v, send(t, test.request()))
			var coded *lambda.Error
			if !errors.As(err, &coded) {
				t.Fatalf("error %v", err)
			}
			if coded.Code != test.code || coded.Message != test.message {
				t.Errorf("got  %s %q\nwant %s %q", coded.Code, coded.Message, test.code, test.message)
			}
		})
	}
}

func TestExpiredKey(t *testing.T) {
	v := testVerifier()
	v.Now = func() time.Time { return testTime.Add(time.Hour) }
	r := newRequest(t, "GET", "http://localhost/", "")
	sign(t, r, temporary, emptyDigest, "lambda", testRegion, v.Now())
	_, err := v.Authenticate(send(t, r))
	if lambda.CodeOf(err) != lambda.CodeUnrecognizedClient || !strings.Contains(err.Error(), expiredToken) {
		t.Errorf("got %v", err)
	}
}

func TestCallerAndBytes(t *testing.T) {
	v := testVerifier()
	r := newRequest(t, "POST", "http://localhost/", "hello")
	r.Header.Set("X-Amz-Target", "Logs_20140328.FilterLogEvents")
	sign(t, r, permanent, digestOf("hello"), "logs", testRegion, testTime)
	got := send(t, r)
	caller, err := v.Authenticate(got)
	if err != nil {
		t.Fatal(err)
	}
	if caller.Account != "123456789012" || caller.ARN != "arn:aws:iam::123456789012:root" || caller.AccessKeyID != testID {
		t.Errorf("caller %+v", caller)
	}
	if b, ok := got.Body.(interface{ Bytes() []byte }); !ok || string(b.Bytes()) != "hello" {
		t.Errorf("the body is not at hand: %T", got.Body)
	}
}

// TestPathNormalization has a client that signs what the path comes to.
func TestPathNormalization(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "//": "/", "/a": "/a", "/a/": "/a/", "/a//b/": "/a/b/", "/a/./b": "/a/b", "/a/../b": "/b", "/../a": "/a", "/..": "/",
	} {
		if got := normalizePath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	r := newRequest(t, "GET", "http://localhost/b/c", "")
	sign(t, r, permanent, emptyDigest, "lambda", testRegion, testTime)
	got := send(t, r)
	got.RequestURI = "/a/../b//./c"
	if _, err := testVerifier().Authenticate(got); err != nil {
		t.Error(err)
	}
}

// TestDateHeader has a client that sends no X-Amz-Date.
func TestDateHeader(t *testing.T) {
	v := testVerifier()
	r := newRequest(t, "GET", "http://localhost/", "")
	r.Header.Set("Date", testTime.Format(http.TimeFormat))
	s := &signature{date: "20261122", region: testRegion, service: "lambda", terminator: terminator,
		stamp: testTime.Format(stampForm), signedHeaders: "date;host", payload: emptyDigest}
	key := v.signingKeys.get(testKeys()[testID], s)
	text := fmt.Sprintf("GET\n/\n\ndate:%s\nhost:localhost\n\ndate;host\n%s", testTime.Format(http.TimeFormat), emptyDigest)
	sum := mac(key[:], append(s.appendStringToSign(nil, algorithm), digestOf(text)...))
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20261122/us-east-1/lambda/aws4_request,SignedHeaders=date;host,Signature=%x", testID, sum))
	if _, err := v.Authenticate(send(t, r)); err != nil {
		t.Error(err)
	}
}

func TestSigningKeyCacheIsBounded(t *testing.T) {
	v := testVerifier()
	for i := range maxSigningKeys + 10 {
		at := testTime.AddDate(0, 0, i)
		v.Now = func() time.Time { return at }
		r := newRequest(t, "GET", "http://localhost/", "")
		sign(t, r, permanent, emptyDigest, "lambda", testRegion, at)
		if _, err := v.Authenticate(send(t, r)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.signingKeys.keys); n > maxSigningKeys {
		t.Errorf("%d keys are kept", n)
	}
}

// BenchmarkAuthenticate is a warm Invoke with a small payload, as boto3 sends it
// and with a digest.
func BenchmarkAuthenticate(b *testing.B) {
	const body = `{"key1":"value1","key2":"value2","key3":"value3"}`
	for _, digest := range []bool{false, true} {
		b.Run(fmt.Sprint("digest=", digest), func(b *testing.B) {
			v := testVerifier()
			r := newRequest(b, "POST", "http://127.0.0.1:3001/2015-03-31/functions/my-function/invocations", body)
			r.Header.Set("Content-Type", "application/octet-stream")
			r.Header.Set("X-Amz-Invocation-Type", "RequestResponse")
			if digest {
				r.Header.Set("X-Amz-Content-Sha256", digestOf(body))
			}
			sign(b, r, permanent, digestOf(body), "lambda", testRegion, testTime)
			got := send(b, r)
			data := []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				reader := newRewinder(data)
				got.Body = reader
				if _, err := v.Authenticate(got); err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, got.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func newRewinder(data []byte) io.ReadCloser {
	return io.NopCloser(strings.NewReader(string(data)))
}
