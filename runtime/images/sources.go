package images

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one package source of the machine's apt configuration.
type source struct {
	uri     string
	suite   string
	options map[string]string // "Signed-By", "Trusted"; those that building needs
}

// machineSources reads apt's configuration below dir (/etc/apt) in both of its
// forms. Only binary sources with a component "main" count: that is what the
// archives of distributions have, and third parties' mostly have not.
func machineSources(dir string) ([]source, error) {
	lists, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*.list"))
	stanzas, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*.sources"))
	var found []source
	for _, name := range append([]string{filepath.Join(dir, "sources.list")}, lists...) {
		data, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			if s, ok := parseSourceLine(line); ok {
				found = append(found, s)
			}
		}
	}
	for _, name := range stanzas {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found = append(found, parseSourceStanzas(string(data))...)
	}
	return found, nil
}

// parseSourceLine reads "deb [option=value …] URI suite component…".
func parseSourceLine(line string) (source, bool) {
	line, _, _ = strings.Cut(line, "#")
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
	if !ok {
		return source{}, false
	}
	s := source{options: map[string]string{}}
	if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "[") {
		options, after, _ := strings.Cut(rest[1:], "]")
		for _, option := range strings.Fields(options) {
			switch k, v, _ := strings.Cut(option, "="); k {
			case "signed-by":
				s.options["Signed-By"] = v
			case "trusted":
				s.options["Trusted"] = v
			}
		}
		rest = after
	}
	fields := strings.Fields(rest)
	if len(fields) < 3 || !slices.Contains(fields[2:], "main") {
		return source{}, false
	}
	s.uri, s.suite = fields[0], fields[1]
	return s, true
}

// parseSourceStanzas reads the deb822 form.
func parseSourceStanzas(text string) []source {
	var found []source
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := map[string]string{}
		var last string
		lines := bufio.NewScanner(strings.NewReader(stanza))
		for lines.Scan() {
			line := lines.Text()
			switch {
			case strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
				fields[last] += "\n" + line // a continued value, such as a key
			default:
				k, v, _ := strings.Cut(line, ":")
				last = strings.ToLower(k)
				fields[last] = strings.TrimSpace(v)
			}
		}
		if fields["enabled"] == "no" || !slices.Contains(strings.Fields(fields["types"]), "deb") ||
			!slices.Contains(strings.Fields(fields["components"]), "main") {
			continue
		}
		options := map[string]string{}
		for _, name := range []string{"Signed-By", "Trusted"} {
			if v := fields[strings.ToLower(name)]; v != "" {
				options[name] = v
			}
		}
		for _, uri := range strings.Fields(fields["uris"]) {
			for _, suite := range strings.Fields(fields["suites"]) {
				found = append(found, source{uri, suite, options})
			}
		}
	}
	return found
}

// sourcesFor returns the machine's sources of its own release, codename, with
// another release of the same distribution in its place.
func sourcesFor(machine []source, codename, release string) []source {
	var found []source
	for _, s := range machine {
		if s.suite == codename || strings.HasPrefix(s.suite, codename+"-") {
			s.suite = release + strings.TrimPrefix(s.suite, codename)
			found = append(found, s)
		}
	}
	return found
}

// formatSources writes sources in the deb822 form.
func formatSources(list []source) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n", s.uri, s.suite)
		for _, name := range []string{"Signed-By", "Trusted"} {
			if v := s.options[name]; v != "" {
				fmt.Fprintf(&b, "%s: %s\n", name, v)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
