package model

import "regexp"

// lookarounds rewrites the model's patterns that look ahead or behind, which
// Go's linear-time expressions cannot do, as a pattern to match and one not to.
var lookarounds = map[string]struct{ match, not string }{
	`(?!^[0-9]+$)([a-zA-Z0-9-_]+)`:              {`[a-zA-Z0-9-_]+`, `^[0-9]+$`},
	`((?!^\d+$)^[0-9a-zA-Z-_]+$)`:               {`[0-9a-zA-Z-_]+`, `^\d+$`},
	`(^(?!(system\x2e)))(^[_a-zA-Z0-9])([^$]*)`: {`[_a-zA-Z0-9][^$]*`, `^system\.`},
	`[0-9A-Za-z\.\-_]*(?<!\.)`:                  {`[0-9A-Za-z.\-_]*`, `\.$`},
}

// compile anchors a pattern at both ends: AWS matches the whole value.
func compile(pattern string) matcher {
	if l, ok := lookarounds[pattern]; ok {
		return matcher{regexp.MustCompile(`\A(?:` + l.match + `)\z`), regexp.MustCompile(l.not)}
	}
	return matcher{match: regexp.MustCompile(`\A(?:` + pattern + `)\z`)}
}
