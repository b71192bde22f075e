package iam

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kiln/lambda"
)

// signature is what a request says about its signature. Only the syntax of it is
// checked.
type signature struct {
	accessKeyID string
	date        string // the scope's, 8 digits if it is right
	region      string
	service     string
	terminator  string

	signedHeaders string // as given: lower case, separated by ';'
	value         string // hexadecimal
	time          time.Time
	stamp         string // time in stampForm
	token         string // "" for none
	// payload is the digest that was signed, or a word that says why there is
	// none; "" if the client left it to the server.
	payload string

	presigned bool
	expires   time.Duration
}

// parse reads the signature of a request.
func parse(r *http.Request) (*signature, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		return parseHeader(r, header)
	}
	if strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm=") || strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") {
		return parseQuery(r)
	}
	return nil, lambda.Errorf(lambda.CodeMissingAuthentication, "Missing Authentication Token")
}

func incomplete(format string, args ...any) error {
	return lambda.Errorf(lambda.CodeIncompleteSignature, format, args...)
}

// parseHeader reads the Authorization header and those that go with it.
func parseHeader(r *http.Request, header string) (*signature, error) {
	s := &signature{token: r.Header.Get("X-Amz-Security-Token"), payload: r.Header.Get("X-Amz-Content-Sha256")}
	var credential string
	if rest, ok := strings.CutPrefix(header, algorithm+" "); ok {
		for part := range strings.SplitSeq(rest, ",") {
			part = strings.TrimSpace(part)
			name, value, ok := strings.Cut(part, "=")
			if !ok {
				return nil, incomplete("'%s' not a valid key=value pair (missing equal-sign) in Authorization header: '%s'.", part, header)
			}
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				s.signedHeaders = value
			case "Signature":
				s.value = value
			}
		}
	}
	stamp := r.Header.Get("X-Amz-Date")
	if stamp == "" {
		stamp = r.Header.Get("Date")
	}
	var missing strings.Builder
	for name, value := range pairs("Credential", credential, "Signature", s.value, "SignedHeaders", s.signedHeaders) {
		if value == "" {
			missing.WriteString("Authorization header requires '" + name + "' parameter. ")
		}
	}
	if stamp == "" {
		missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if missing.Len() > 0 {
		return nil, incomplete("%sAuthorization=%s", missing.String(), header)
	}
	return s, s.complete(credential, stamp)
}

// parseQuery reads the parameters of a presigned request.
func parseQuery(r *http.Request) (*signature, error) {
	query := r.URL.Query()
	s := &signature{
		presigned: true, value: query.Get("X-Amz-Signature"), signedHeaders: query.Get("X-Amz-SignedHeaders"),
		token: query.Get("X-Amz-Security-Token"), payload: query.Get("X-Amz-Content-Sha256"), expires: skew,
	}
	if s.payload == "" {
		s.payload = r.Header.Get("X-Amz-Content-Sha256")
	}
	var missing strings.Builder
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if query.Get(name) == "" {
			missing.WriteString("AWS query-string parameters must include '" + name + "'. ")
		}
	}
	if missing.Len() > 0 {
		return nil, incomplete("%sRe-examine the query-string parameters.", missing.String())
	}
	if a := query.Get("X-Amz-Algorithm"); a != algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '%s'.", a)
	}
	if err := s.readExpiry(query); err != nil {
		return nil, err
	}
	return s, s.complete(query.Get("X-Amz-Credential"), query.Get("X-Amz-Date"))
}

func (s *signature) readExpiry(query url.Values) error {
	if !query.Has("X-Amz-Expires") {
		return nil
	}
	seconds, err := strconv.Atoi(query.Get("X-Amz-Expires"))
	switch {
	case err != nil:
		return incomplete("X-Amz-Expires should be a number")
	case seconds <= 0:
		return incomplete("X-Amz-Expires must be positive")
	case seconds > int(maxExpiry/time.Second):
		return incomplete("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than %d seconds",
			int(maxExpiry/time.Second))
	}
	s.expires = time.Duration(seconds) * time.Second
	return nil
}

// complete reads what both forms have alike.
func (s *signature) complete(credential, stamp string) error {
	scope := strings.Split(credential, "/")
	if len(scope) != 5 {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)
	}
	s.accessKeyID, s.date, s.region, s.service, s.terminator = scope[0], scope[1], scope[2], scope[3], scope[4]
	t, err := time.Parse(stampForm, stamp)
	if err != nil && !s.presigned {
		t, err = http.ParseTime(stamp)
	}
	if err != nil {
		return incomplete("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", stamp)
	}
	if s.time, s.stamp = t.UTC(), stamp; len(stamp) != len(stampForm) {
		s.stamp = s.time.Format(stampForm)
	}
	// A name that is none could make one text out of two requests.
	for i := range len(s.signedHeaders) {
		if c := s.signedHeaders[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return incomplete("'%s' is not a valid list of signed headers.", s.signedHeaders)
		}
	}
	return nil
}

// pairs yields the arguments two by two.
func pairs(all ...string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for i := 0; i < len(all); i += 2 {
			if !yield(all[i], all[i+1]) {
				return
			}
		}
	}
}
