// Package test holds the tests of Kiln as a whole.
package test

import (
	"os/exec"
	"strings"
	"testing"
)

// allowed says which of Kiln's own packages those below a folder may import,
// besides their own folder. The most specific folder counts. Folders are
// prefixes; a trailing "$" means the package itself only.
var allowed = map[string][]string{
	"lambda":               {},
	"invoke":               {"lambda"},
	"invoke/frontend":      {"lambda", "invoke$"},
	"invoke/counting":      {"lambda", "invoke$"},
	"invoke/workermanager": {"lambda", "invoke$"},
	"invoke/placement":     {"lambda", "invoke$"},
	"invoke/worker":        {"lambda", "invoke$", "sandbox$", "runtime/runtimeapi"},
	"controlplane":         {"lambda", "controlplane$", "store"},
	"sandbox":              {"sandbox"},
	"network":              {},
	"runtime":              {"lambda", "runtime", "store/erofs"},
	"store":                {"lambda"},
	"observe":              {"lambda"},
}

// TestImports keeps the services apart: each knows the domain and the
// vocabulary of its plane, none another's insides, and only cmd knows them all.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "kiln/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], "kiln/")
		folder, rules := rulesOf(pkg)
		if rules == nil {
			continue
		}
		checked++
		for _, imported := range fields[1:] {
			target, ours := strings.CutPrefix(imported, "kiln/")
			if !ours || target == folder || strings.HasPrefix(target, folder+"/") {
				continue
			}
			if !permitted(target, rules) {
				t.Errorf("%s must not import %s", pkg, target)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d packages were checked: is the list of folders out of date?", checked)
	}
}

func rulesOf(pkg string) (string, []string) {
	for folder := pkg; folder != ""; {
		if rules, ok := allowed[folder]; ok {
			return folder, rules
		}
		i := strings.LastIndexByte(folder, '/')
		folder = folder[:max(i, 0)]
	}
	return "", nil
}

func permitted(target string, rules []string) bool {
	for _, rule := range rules {
		if exact, ok := strings.CutSuffix(rule, "$"); ok {
			if target == exact {
				return true
			}
		} else if target == rule || strings.HasPrefix(target, rule+"/") {
			return true
		}
	}
	return false
}
