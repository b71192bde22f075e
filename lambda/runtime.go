package lambda

import (
	"slices"
	"strings"
)

// Runtime is a managed runtime's identifier, such as "nodejs22.x".
type Runtime string

// The families of runtimes; a family shares its bootstrap.
const (
	FamilyNode     = "nodejs"
	FamilyPython   = "python"
	FamilyJava     = "java"
	FamilyProvided = "provided"
)

// supported lists the runtimes that this Kiln can create functions for, in the
// order in which errors name them.
var supported = []Runtime{
	"nodejs20.x", "nodejs22.x", "nodejs24.x",
	"python3.11", "python3.12", "python3.13", "python3.14",
	"provided.al2", "provided.al2023",
}

// SupportedRuntimes returns the runtimes that functions can be created with.
func SupportedRuntimes() []Runtime { return slices.Clone(supported) }

// Supported reports whether functions can be created with r.
func (r Runtime) Supported() bool { return slices.Contains(supported, r) }

// Family returns the runtime's family, such as FamilyNode for "nodejs22.x".
func (r Runtime) Family() string {
	s := string(r)
	if strings.HasPrefix(s, FamilyProvided) {
		return FamilyProvided
	}
	return strings.TrimRight(s, ".0123456789x")
}
