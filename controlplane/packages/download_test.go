package packages

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kiln/lambda"
	"kiln/store/blob"
)

func TestDownloads(t *testing.T) {
	blobs, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(blobs, Options{WorkDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	const key = "code/archives/ab/abcd.zip"
	if _, err := blobs.Put(context.Background(), key, strings.NewReader("the archive"), blob.Digest{}); err != nil {
		t.Fatal(err)
	}
	var d *Downloads
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.ServeHTTP(w, r) }))
	defer server.Close()
	d = NewDownloads(s, server.URL+"/code/", slog.New(slog.DiscardHandler))

	good := d.URL(&lambda.Version{Code: lambda.Package{Archive: key}})
	for _, test := range []struct {
		name, url string
		after     time.Duration
		status    int
	}{
		{"signed", good, 0, 200},
		{"outside", strings.Replace(good, "/code/code/", "/data/code/", 1), 0, 404},
		{"expired", good, 11 * time.Minute, 403},
		{"another key", strings.Replace(good, "abcd.zip", "abce.zip", 1), 0, 403},
		{"a longer life", strings.Replace(good, "Expires=", "Expires=9", 1), 0, 403},
		{"unsigned", server.URL + "/code/" + key, 0, 403},
		{"gone", d.URL(&lambda.Version{Code: lambda.Package{Archive: "code/archives/00/00.zip"}}), 0, 404},
	} {
		d.now = func() time.Time { return time.Now().Add(test.after) }
		resp, err := http.Get(test.url)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.status || test.status == 200 && string(body) != "the archive" {
			t.Errorf("%s: %d %q, want %d", test.name, resp.StatusCode, body, test.status)
		}
	}
	d.now = time.Now
	resp, err := http.Post(good, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a POST: %d", resp.StatusCode)
	}
}
