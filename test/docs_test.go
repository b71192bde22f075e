package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxLines is the longest that a source file may be.
const maxLines = 800

// TestDocs asks a comment of every exported name, and of every file that it is
// not too long to read. Generated files are let off.
func TestDocs(t *testing.T) {
	names := 0
	for _, path := range goFiles(t) {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(file) {
			continue
		}
		if lines := set.File(file.Pos()).LineCount(); lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", path, lines, maxLines)
		}
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, name := range exported(file) {
			names++
			if !name.documented {
				t.Errorf("%s: %s has no comment", set.Position(name.Pos()), name.Name)
			}
		}
	}
	if names < 500 {
		t.Errorf("only %d names were found: are there other files?", names)
	}
}

// TestExported shows that the check finds what it is to find.
func TestExported(t *testing.T) {
	const source = `package p
type A struct{ B, b int }
type (
	// C is documented.
	C interface { D(); d() }
	e struct{ F int }
)
// g is not exported.
const ( H = 1; i = 2 )
// The constants.
const ( J = 1; K = 2 )
var ( L int // L is documented.
)
func M() {}
func (*A) N() {}
func (A) o() {}
func (e) P() {}
func (*Q[T]) R() {}
// S is documented.
func S() {}
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var with, without []string
	for _, name := range exported(file) {
		if name.documented {
			with = append(with, name.Name)
		} else {
			without = append(without, name.Name)
		}
	}
	if want := []string{"C", "H", "J", "K", "L", "S"}; !slices.Equal(with, want) {
		t.Errorf("documented are %v, want %v", with, want)
	}
	if want := []string{"A", "M", "N", "R"}; !slices.Equal(without, want) {
		t.Errorf("not documented are %v, want %v", without, want)
	}
}

// goFiles returns the module's source files, but those of modules within it.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// name is an exported one.
type name struct {
	*ast.Ident
	documented bool
}

// exported returns the names that a file declares and the methods of exported
// types. The fields of structs and the methods of interfaces are let off: the
// type's comment may say it all. So are values in a group that has a comment.
func exported(file *ast.File) (names []name) {
	add := func(id *ast.Ident, comments ...*ast.CommentGroup) {
		if id.IsExported() {
			names = append(names, name{id, slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c.Text() != "" })})
		}
	}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || receiver(d.Recv.List[0].Type).IsExported() {
				add(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if d.Lparen.IsValid() {
						add(s.Name, s.Doc, s.Comment)
					} else {
						add(s.Name, d.Doc)
					}
				case *ast.ValueSpec:
					for _, id := range s.Names {
						add(id, d.Doc, s.Doc, s.Comment)
					}
				}
			}
		}
	}
	return names
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x
		default:
			return ast.NewIdent("_")
		}
	}
}
