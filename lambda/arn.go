package lambda

import (
	"regexp"
	"strings"
)

// Partition is the ARN partition of every resource in Kiln.
const Partition = "aws"

// FunctionARN returns the unqualified ARN of a function.
func FunctionARN(region, account, name string) string {
	return "arn:" + Partition + ":lambda:" + region + ":" + account + ":function:" + name
}

// FunctionRef is a function as a caller names it: a name, a partial ARN
// ("123456789012:function:name") or an ARN, each with an optional qualifier.
// Fields that the caller left out are empty.
type FunctionRef struct {
	Partition string
	Region    string
	Account   string
	Name      string
	Qualifier string // version number, Latest or alias name
}

// refPattern is the model's pattern of FunctionName, with its groups named.
var refPattern = regexp.MustCompile(`^(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>(?:[a-z]{2}(?:-[a-z]+)+-\d{1})|):|)` +
	`(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?$`)

var maxNameLength = 64

// ParseFunctionRef parses s. It reports CodeInvalidParameter for text that is
// no function reference; the model's constraints are checked before, at the
// API's edge, so callers of the API rarely see that error.
func ParseFunctionRef(s string) (FunctionRef, error) {
	m := refPattern.FindStringSubmatch(s)
	if m == nil {
		return FunctionRef{}, Errorf(CodeInvalidParameter, "Invalid function name: %s", s)
	}
	ref := FunctionRef{Partition: m[1], Region: m[2], Account: m[3], Name: m[4], Qualifier: m[5]}
	if len(ref.Name) > maxNameLength {
		return FunctionRef{}, Errorf(CodeInvalidParameter, "Function name length cannot exceed %d characters: %s", maxNameLength, ref.Name)
	}
	return ref, nil
}

// WithQualifier merges the Qualifier parameter of a request into the reference.
// Both may name a qualifier only if it is the same one.
func (r FunctionRef) WithQualifier(q string) (FunctionRef, error) {
	switch {
	case q == "" || q == r.Qualifier:
		return r, nil
	case r.Qualifier == "":
		r.Qualifier = q
		return r, nil
	}
	return r, Errorf(CodeInvalidParameter,
		"The derived qualifier from the function name does not match the specified qualifier.")
}

// IsVersionNumber reports whether q is the number of a published version.
func IsVersionNumber(q string) bool {
	return q != "" && strings.Trim(q, "0123456789") == ""
}
