package conformance

import (
	"slices"
	"strings"
	"testing"
)

// refusals are the errors with which a call that is forbidden ends. Another
// error would mean that the call was let through and only its arguments were
// wrong, so it fails the case unless the attempt lists it.
var refusals = []string{"EPERM", "EACCES", "ENOSYS", "EROFS"}

// attempt is one of the probe's that must not work.
type attempt struct {
	name  string // the probe's
	tries string
	// also are further outcomes that are fine, "ENOENT", or "gvisor: worked" for
	// one back end where the effect stays inside: its kernel is the function's own.
	also []string
}

// or allows further outcomes.
func (a attempt) or(outcomes ...string) attempt {
	a.also = append(slices.Clone(a.also), outcomes...)
	return a
}

// forbid is an attempt that must be refused.
func forbid(name, tries string) attempt { return attempt{name: name, tries: tries} }

// absent is an attempt at something that is not there or reads as empty.
func absent(name, tries string) attempt { return forbid(name, tries).or("ENOENT", "ENODATA") }

// noFamily is an attempt at a socket of a family that does not exist.
func noFamily(name, tries string) attempt {
	return forbid(name, tries).or("EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT")
}

// allows says whether an outcome is fine for a back end.
func (a attempt) allows(backend string, o outcome) bool {
	if slices.Contains(refusals, o.Errno) {
		return true
	}
	for _, also := range a.also {
		on, errno, one := strings.Cut(also, ": ")
		if one && on == backend && errno == o.Errno || !one && also == o.Errno {
			return true
		}
	}
	return false
}

// attemptCases makes a case of each attempt.
func attemptCases(list []attempt) []testCase {
	var cases []testCase
	for _, a := range list {
		must := ": must be refused"
		for _, also := range a.also {
			if on, ok := strings.CutSuffix(also, ": worked"); ok {
				must += ", or in " + on + " have an effect inside alone"
			}
		}
		cases = append(cases, testCase{a.name, a.tries + must, func(t *testing.T, s *stage) {
			o := s.attempt(t, a.name)
			if !a.allows(s.name, o) {
				t.Errorf("%s: %s", o.Errno, o.Detail)
			}
			t.Log("outcome:", o.Errno, o.Detail)
		}})
	}
	return cases
}

// knownAttempts are the names in all tables.
func knownAttempts() map[string]bool {
	known := map[string]bool{}
	for _, a := range slices.Concat(fileAttempts, escapeAttempts) {
		known[a.name] = true
	}
	return known
}
