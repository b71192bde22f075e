package images

import (
	"fmt"
	"os/exec"
)

// Requirement is a program that building images needs on the machine.
type Requirement struct {
	// Tool is the program's name.
	Tool string
	// Package is the Debian package that has it.
	Package string
	// For says what it is used for, and what is lost without it.
	For string
	// Optional tells that images can be had without it.
	Optional bool
}

// Missing reports whether the tool is not on the PATH.
func (r Requirement) Missing() bool {
	_, err := exec.LookPath(r.Tool)
	return err != nil
}

// Requirements lists every program that Build and Pull may run.
func Requirements() []Requirement {
	return []Requirement{
		{"apt-get", "apt", "building images: fetches the userland and Python; not needed to pull images", true},
		{"dpkg-deb", "dpkg", "building images: unpacks the userland; not needed to pull images", true},
		{"npm", "npm", "building the nodejs images: fetches Node.js", true},
		{"pip3", "python3-pip", "boto3 in the python images; they are built without it otherwise", true},
		{"mvn", "maven", "building the python3.12 image: fetches Python 3.12, which Debian does not have", true},
	}
}

// MissingToolError is a build that needs a program which the machine does not have.
type MissingToolError struct {
	Requirement
}

// Error implements error.
func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s is needed for %s; install it with: apt-get install %s", e.Tool, e.For, e.Package)
}

// need fails if one of the tools is missing.
func need(tools ...string) error {
	for _, tool := range tools {
		for _, r := range Requirements() {
			if r.Tool == tool && r.Missing() {
				return &MissingToolError{r}
			}
		}
	}
	return nil
}
