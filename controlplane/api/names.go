package api

import (
	"unicode/utf8"

	"kiln/controlplane/api/rest"
	"kiln/lambda"
)

// actions are the permissions whose names differ from their operations'.
var actions = map[string]string{"Invoke": "InvokeFunction"}

// maxNameLength is the greatest length of a function's own name; the model's
// bound is that of an ARN.
const maxNameLength = 64

// resolve reads a function's name, partial ARN or ARN, merges the qualifier,
// and checks that the caller can reach it: its account and this region. The
// reference returned has an account.
func (a *API) resolve(c *call, name string, qualifier *string) (lambda.FunctionRef, error) {
	ref, err := parseRef(name)
	if err != nil {
		return ref, err
	}
	if qualifier != nil {
		if ref, err = ref.WithQualifier(*qualifier); err != nil {
			return ref, err
		}
	}
	if ref.Region != "" && ref.Region != a.Region {
		return ref, lambda.Errorf(lambda.CodeNotFound, "Functions from '%s' are not reachable in this region ('%s')", ref.Region, a.Region)
	}
	if ref.Account == "" {
		ref.Account = c.caller.Account
	}
	if ref.Account != c.caller.Account {
		return ref, a.denied(c, ref)
	}
	return ref, nil
}

// denied is the error for another account's function: nothing lets this caller in.
func (a *API) denied(c *call, ref lambda.FunctionRef) error {
	action := c.route.Name
	if special := actions[action]; special != "" {
		action = special
	}
	resource := lambda.FunctionARN(a.Region, ref.Account, ref.Name)
	if ref.Qualifier != "" {
		resource += ":" + ref.Qualifier
	}
	return lambda.Errorf(lambda.CodeAccessDenied, "User: %s is not authorized to perform: lambda:%s on resource: %s "+
		"because no resource-based policy allows the lambda:%s action", c.caller.ARN, action, resource, action)
}

// whole resolves the name of a function that must come without a qualifier.
func (a *API) whole(c *call, name string) (lambda.FunctionKey, error) {
	ref, err := a.resolve(c, name, nil)
	if err != nil {
		return lambda.FunctionKey{}, err
	}
	if ref.Qualifier != "" {
		return lambda.FunctionKey{}, lambda.Errorf(lambda.CodeInvalidParameter,
			"This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "+
				"Please specify either a function name or an unqualified function ARN.")
	}
	return lambda.FunctionKey{Account: ref.Account, Name: ref.Name}, nil
}

// parseRef is lambda.ParseFunctionRef with a short cut for plain names, which
// most invokes use.
func parseRef(name string) (lambda.FunctionRef, error) {
	if plainName(name) {
		return lambda.FunctionRef{Name: name}, nil
	}
	ref, err := lambda.ParseFunctionRef(name)
	if err == nil {
		return ref, nil
	}
	if n := utf8.RuneCountInString(name); n > maxNameLength && isNameText(name) {
		return ref, rest.Violation(name, "functionName", "Member must have length less than or equal to 64")
	}
	return ref, err
}

func plainName(s string) bool { return s != "" && len(s) <= maxNameLength && isNameText(s) }

func isNameText(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
