package packages

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kiln/lambda"
	"kiln/store/blob"
)

// downloadFor is how long a download's URL is good, as on AWS.
const downloadFor = 10 * time.Minute

// Downloads serves archives to whoever has a URL that it has signed: the
// Code.Location of GetFunction. URLs end with the process that made them. It is
// safe for concurrent use.
type Downloads struct {
	packages *Service
	base     string
	secret   [32]byte
	logger   *slog.Logger
	now      func() time.Time
}

// NewDownloads returns a handler whose URLs begin with base, which ends with a
// slash and is where the handler is mounted.
func NewDownloads(s *Service, base string, logger *slog.Logger) *Downloads {
	d := &Downloads{packages: s, base: base, logger: logger, now: time.Now}
	rand.Read(d.secret[:])
	return d
}

// URL returns a URL that the version's archive can be fetched from for ten minutes.
func (d *Downloads) URL(v *lambda.Version) string {
	expires := strconv.FormatInt(d.now().Add(downloadFor).Unix(), 10)
	return d.base + v.Code.Archive + "?" + url.Values{
		"Expires":   {expires},
		"Signature": {d.sign(v.Code.Archive, expires)},
	}.Encode()
}

func (d *Downloads) sign(key, expires string) string {
	mac := hmac.New(sha256.New, d.secret[:])
	mac.Write([]byte(key + "\n" + expires))
	return hex.EncodeToString(mac.Sum(nil))
}

// ServeHTTP implements http.Handler.
func (d *Downloads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	base, err := url.Parse(d.base)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	key, ok := strings.CutPrefix(r.URL.Path, base.Path)
	query := r.URL.Query()
	expires, _ := strconv.ParseInt(query.Get("Expires"), 10, 64)
	switch {
	case !ok || r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.NotFound(w, r)
		return
	case !hmac.Equal([]byte(query.Get("Signature")), []byte(d.sign(key, query.Get("Expires")))),
		d.now().Unix() > expires:
		http.Error(w, "The URL is not valid, or has expired.", http.StatusForbidden)
		return
	}
	body, err := d.packages.OpenArchive(r.Context(), lambda.Package{Archive: key})
	if errors.Is(err, blob.ErrNotFound) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		d.logger.Error("an archive could not be read", "key", key, "err", err)
		http.Error(w, "The archive could not be read.", http.StatusInternalServerError)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", "application/zip")
	io.Copy(w, body) //nolint:errcheck // the client is gone
}
