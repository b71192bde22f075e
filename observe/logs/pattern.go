package logs

import (
	"fmt"
	"strings"
)

// Pattern is a filter pattern of CloudWatch Logs for unstructured text:
//
//	ERROR timeout     both words
//	"exit status 1"   this phrase
//	ERROR -"health"   the first, not the second
//	?ERROR ?WARN      at least one of them; ignored where there are other terms
//
// Matching minds case and finds terms within words. The zero Pattern matches all.
type Pattern struct {
	all, any, none []string
}

// PatternError is a filter pattern that cannot be used.
type PatternError struct {
	Reason string
}

// Error implements error.
func (e *PatternError) Error() string { return e.Reason }

// ParsePattern parses a filter pattern. Its error is a *PatternError. Patterns
// for JSON and space-delimited events and regular expressions are not supported.
func ParsePattern(s string) (Pattern, error) {
	var p Pattern
	rest := strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(rest, "{"):
		return p, &PatternError{"Invalid filter pattern: JSON patterns are not supported"}
	case strings.HasPrefix(rest, "["):
		return p, &PatternError{"Invalid filter pattern: space-delimited patterns are not supported"}
	case strings.HasPrefix(rest, "%"):
		return p, &PatternError{"Invalid filter pattern: regular expressions are not supported"}
	}
	for rest != "" {
		list := &p.all
		switch rest[0] {
		case '-':
			list, rest = &p.none, strings.TrimLeft(rest[1:], " ")
		case '?':
			list, rest = &p.any, strings.TrimLeft(rest[1:], " ")
		}
		term, after, err := cutTerm(rest)
		if err != nil {
			return Pattern{}, err
		}
		*list = append(*list, term)
		rest = strings.TrimSpace(after)
	}
	if len(p.all) > 0 || len(p.none) > 0 {
		p.any = nil
	}
	return p, nil
}

// cutTerm takes the first term off s.
func cutTerm(s string) (term, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t\n")
		if end < 0 {
			end = len(s)
		}
		term = s[:end]
		for _, c := range term {
			switch {
			case c == '_', c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c > 0x7f:
			default:
				return "", "", &PatternError{fmt.Sprintf("Invalid character(s) in term '%s'", term)}
			}
		}
		if term == "" {
			return "", "", &PatternError{"Invalid filter pattern: a term is missing"}
		}
		return term, s[end:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", &PatternError{"Invalid filter pattern: a quotation mark is not closed"}
}

// Match reports whether the pattern matches a message.
func (p Pattern) Match(message string) bool {
	for _, t := range p.none {
		if strings.Contains(message, t) {
			return false
		}
	}
	for _, t := range p.all {
		if !strings.Contains(message, t) {
			return false
		}
	}
	for _, t := range p.any {
		if strings.Contains(message, t) {
			return true
		}
	}
	return len(p.any) == 0
}
