package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (m *model) writeOperations(b *bytes.Buffer) {
	b.WriteString("var routes = []Route{\n")
	for _, name := range slices.Sorted(maps.Keys(m.Operations)) {
		op := m.Operations[name]
		path, query, _ := strings.Cut(op.HTTP.RequestURI, "?")
		status := op.HTTP.ResponseCode
		if status == 0 {
			status = 200
		}
		output := ""
		if op.Output != nil {
			output = op.Output.Shape
		}
		fmt.Fprintf(b, "{Name: %q, Method: %q, Path: %q, Query: %q, Status: %d, Input: %q, Output: %q, New: func() any { return new(%s) }},\n",
			name, op.HTTP.Method, path, query, status, op.Input.Shape, output, op.Input.Shape)
	}
	b.WriteString("}\n")
}

func (m *model) writeStructures(b *bytes.Buffer) {
	roles := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(m.Operations)) {
		op := m.Operations[name]
		roles[op.Input.Shape] = append(roles[op.Input.Shape], "the input of "+name)
		if op.Output != nil {
			roles[op.Output.Shape] = append(roles[op.Output.Shape], "the output of "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Shapes)) {
		s := m.Shapes[name]
		if s.Type != "structure" || s.Exception {
			continue
		}
		if r := roles[name]; r != nil {
			fmt.Fprintf(b, "// %s is %s.\n", name, strings.Join(r, ", "))
		} else {
			fmt.Fprintf(b, "// %s is a structure of the model.\n", name)
		}
		fmt.Fprintf(b, "type %s struct {\n", name)
		for _, mem := range s.Members {
			tag := mem.Name + ",omitzero"
			if mem.Location != "" || mem.Name == s.Payload {
				tag = "-"
			}
			fmt.Fprintf(b, "%s %s `json:%q`\n", exported(mem.Name), m.goType(mem.Shape), tag)
		}
		b.WriteString("}\n\n")
	}
}

func (m *model) writeShapes(b *bytes.Buffer) {
	b.WriteString("// shapes holds every shape that requests are made of, and the outputs that\n// say more than a JSON object.\nvar shapes = map[string]*Shape{\n")
	inputs := m.inputShapes()
	for _, name := range inputs {
		m.writeShape(b, name, true)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Shapes)) {
		if s := m.Shapes[name]; m.isOutput(name) && !slices.Contains(inputs, name) && s.outsideBody() {
			m.writeShape(b, name, false)
		}
	}
	b.WriteString("}\n")
}

// writeShape writes one shape; references to other shapes only for inputs.
func (m *model) writeShape(b *bytes.Buffer, name string, input bool) {
	s := m.Shapes[name]
	fmt.Fprintf(b, "%q: {Kind: %s", name, kinds[s.Type].kind)
	if s.Min != nil {
		fmt.Fprintf(b, ", Min: bound(%d)", int64(*s.Min))
	}
	if s.Max != nil {
		fmt.Fprintf(b, ", Max: bound(%d)", int64(*s.Max))
	}
	if s.Pattern != "" {
		fmt.Fprintf(b, ", Pattern: %s", quote(s.Pattern))
	}
	if s.Enum != nil {
		fmt.Fprintf(b, ", Enum: %#v", s.Enum)
	}
	if s.Sensitive {
		b.WriteString(", Sensitive: true")
	}
	if s.Key.Shape != "" {
		fmt.Fprintf(b, ", Key: %q", s.Key.Shape)
	}
	if elem := s.Member.Shape + s.Value.Shape; elem != "" {
		fmt.Fprintf(b, ", Elem: %q", elem)
	}
	if s.Members != nil {
		b.WriteString(", Members: []Member{\n")
		for _, mem := range s.Members {
			fmt.Fprintf(b, "{Name: %q", mem.Name)
			if mem.LocationName != "" && mem.LocationName != mem.Name {
				fmt.Fprintf(b, ", Wire: %q", mem.LocationName)
			} else if mem.Location != "" {
				fmt.Fprintf(b, ", Wire: %q", mem.Name)
			}
			if mem.Location != "" {
				fmt.Fprintf(b, ", In: %s", locations[mem.Location])
			} else if mem.Name == s.Payload {
				b.WriteString(", In: InPayload")
			}
			if input {
				fmt.Fprintf(b, ", Shape: %q", mem.Shape)
			}
			if slices.Contains(s.Required, mem.Name) {
				b.WriteString(", Required: true")
			}
			b.WriteString("},\n")
		}
		b.WriteString("}")
	}
	b.WriteString("},\n")
}

func (m *model) writeExceptions(b *bytes.Buffer) {
	b.WriteString("var exceptions = map[string]Exception{\n")
	for _, name := range slices.Sorted(maps.Keys(m.Shapes)) {
		s := m.Shapes[name]
		if !s.Exception {
			continue
		}
		key := ""
		for _, mem := range s.Members {
			if strings.EqualFold(mem.Name, "message") {
				key = mem.Name
			}
		}
		fmt.Fprintf(b, "%q: {Status: %d, MessageKey: %q, Service: %t},\n", name, s.Error.HTTPStatusCode, key, s.Fault)
	}
	b.WriteString("}\n")
}

func (m *model) isOutput(name string) bool {
	for _, op := range m.Operations {
		if op.Output != nil && op.Output.Shape == name {
			return true
		}
	}
	return false
}

// outsideBody reports whether any member travels outside the JSON object.
func (s shape) outsideBody() bool {
	return slices.ContainsFunc(s.Members, func(mem member) bool { return mem.Location != "" || mem.Name == s.Payload })
}

func exported(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

func quote(s string) string {
	if strings.Contains(s, "`") {
		return fmt.Sprintf("%q", s)
	}
	return "`" + s + "`"
}
