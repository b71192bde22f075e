// Package bootstrap holds the programs that make an interpreter a managed
// runtime: they load a function's handler and serve the Runtime API
// (2018-06-01) as Lambda's own managed runtimes do. They are plain JavaScript
// and Python without dependencies, embedded here and put into the runtime
// images at Dir.
package bootstrap

import (
	"embed"
	"io/fs"

	"kiln/lambda"
)

// Dir is where a runtime image has its bootstrap, the value of LAMBDA_RUNTIME_DIR.
const Dir = "/var/runtime"

//go:embed node/*.js node/*.mjs
var node embed.FS

//go:embed python/bootstrap.py python/kiln_runtime/__init__.py python/kiln_runtime/*.py
var python embed.FS

// Files returns the files of a family's bootstrap, relative to Dir, and
// whether Kiln has one: functions of other families bring their own.
func Files(family string) (fs.FS, bool) {
	var files fs.FS
	var err error
	switch family {
	case lambda.FamilyNode:
		files, err = fs.Sub(node, "node")
	case lambda.FamilyPython:
		files, err = fs.Sub(python, "python")
	default:
		return nil, false
	}
	if err != nil {
		panic(err) // fs.Sub fails on malformed names only
	}
	return files, true
}
