package functions

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"kiln/controlplane"
	"kiln/lambda"
)

// maxPage is the most that one page of a list holds, whatever is asked for.
const maxPage = 50

// position is the last item that a list has returned; number is 0 for $LATEST.
// Markers encode it, so what is created or deleted elsewhere between two pages
// neither repeats nor hides an item.
type position struct {
	name   string
	number int
}

func (p position) marker() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.name + ":" + strconv.Itoa(p.number)))
}

func parseMarker(marker string) (position, error) {
	text, err := base64.RawURLEncoding.DecodeString(marker)
	name, number, ok := strings.Cut(string(text), ":")
	n, numErr := strconv.Atoi(number)
	if err != nil || !ok || numErr != nil || n < 0 || strings.ContainsAny(name, "/\x00") {
		return position{}, lambda.Errorf(lambda.CodeInvalidParameter, "Invalid value for parameter Marker: %s", marker)
	}
	return position{name, n}, nil
}

// list collects the items of one page and one more, which tells that there is a
// next page.
type list struct {
	max   int
	items []*lambda.Version
}

func newList(page controlplane.Page) *list {
	l := &list{max: maxPage}
	if page.Max > 0 {
		l.max = min(page.Max, maxPage)
	}
	return l
}

// add appends v and reports whether the list wants more.
func (l *list) add(v *lambda.Version) bool {
	l.items = append(l.items, v)
	return len(l.items) <= l.max
}

// batch is how many keys are worth reading at a time.
func (l *list) batch() int64 { return int64(l.max + 1 - len(l.items)) }

// page returns the items and the marker of the next page, "" for none.
func (l *list) page() ([]*lambda.Version, string) {
	if len(l.items) <= l.max {
		return l.items, ""
	}
	items := l.items[:l.max]
	last := items[len(items)-1]
	n, _ := versionNumber(last.Key.Number)
	return items, position{last.Key.Name, n}.marker()
}

// List returns one page of an account's functions by name, as their $LATEST, and
// with allVersions their published versions after it. The second result is the
// marker of the next page, "" for none.
func (s *Service) List(ctx context.Context, account string, allVersions bool, page controlplane.Page) ([]*lambda.Version, string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	prefix := recordsOf(account)
	start := prefix
	l := newList(page)
	var revision int64
	if page.Marker != "" {
		p, err := parseMarker(page.Marker)
		if err != nil {
			return nil, "", err
		}
		key := lambda.FunctionKey{Account: account, Name: p.name}
		start = recordKey(key) + "\x00"
		if allVersions {
			if revision, err = s.listVersions(ctx, l, key, p.number, 0); err != nil {
				return nil, "", storeError(err)
			}
		}
	}
	if len(l.items) > l.max {
		items, next := l.page()
		return items, next, nil
	}
	records := span{start, prefixEnd(prefix), revision, l.batch()}
	_, err := s.store.scan(ctx, records, func(revision int64, _ string, value []byte) (bool, error) {
		r, err := decode[record](value)
		if err != nil {
			return false, err
		}
		more := l.add(r.Latest)
		if more && allVersions && r.Function.LastPublished > 0 {
			if _, err := s.listVersions(ctx, l, r.Function.Key, 0, revision); err != nil {
				return false, err
			}
			more = len(l.items) <= l.max
		}
		return more, nil
	})
	if err != nil {
		return nil, "", storeError(err)
	}
	items, next := l.page()
	return items, next, nil
}

// Versions returns one page of a function's versions: $LATEST, then the published
// ones by number. The second result is the marker of the next page, "" for none.
func (s *Service) Versions(ctx context.Context, key lambda.FunctionKey, page controlplane.Page) ([]*lambda.Version, string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	latest, _, err := s.Get(ctx, key, "")
	if err != nil {
		return nil, "", err
	}
	l := newList(page)
	after := 0
	if page.Marker == "" {
		l.add(latest)
	} else {
		p, err := parseMarker(page.Marker)
		if err != nil {
			return nil, "", err
		}
		after = p.number
	}
	if _, err := s.listVersions(ctx, l, key, after, 0); err != nil {
		return nil, "", storeError(err)
	}
	items, next := l.page()
	return items, next, nil
}

// listVersions adds the published versions above number to l, as of revision (0
// for now), and returns the revision it read at.
func (s *Service) listVersions(ctx context.Context, l *list, key lambda.FunctionKey, number int, revision int64) (int64, error) {
	versions := span{versionKey(key, number+1), prefixEnd(versionsOf(key)), revision, l.batch()}
	return s.store.scan(ctx, versions, func(_ int64, _ string, value []byte) (bool, error) {
		v, err := decode[lambda.Version](value)
		if err != nil {
			return false, err
		}
		return l.add(v), nil
	})
}

// prefixEnd is the end of the range of keys that begin with prefix.
func prefixEnd(prefix string) string { return clientv3.GetPrefixRangeEnd(prefix) }
