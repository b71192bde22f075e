package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// model is the part of a botocore service model that is generated from.
type model struct {
	Operations map[string]operation `json:"operations"`
	Shapes     map[string]shape     `json:"shapes"`
}

type operation struct {
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	Input  struct{ Shape string }  `json:"input"`
	Output *struct{ Shape string } `json:"output"`
}

type shape struct {
	Type      string   `json:"type"`
	Min       *float64 `json:"min"`
	Max       *float64 `json:"max"`
	Pattern   string   `json:"pattern"`
	Enum      []string `json:"enum"`
	Sensitive bool     `json:"sensitive"`
	Required  []string `json:"required"`
	Members   members  `json:"members"`
	Payload   string   `json:"payload"`
	Exception bool     `json:"exception"`
	Fault     bool     `json:"fault"`
	Error     struct {
		HTTPStatusCode int `json:"httpStatusCode"`
	} `json:"error"`
	Member struct{ Shape string } `json:"member"`
	Key    struct{ Shape string } `json:"key"`
	Value  struct{ Shape string } `json:"value"`
}

type member struct {
	Name         string `json:"-"`
	Shape        string `json:"shape"`
	Location     string `json:"location"`
	LocationName string `json:"locationName"`
}

// members keeps the model's order, which is the order of AWS's errors.
type members []member

// UnmarshalJSON implements json.Unmarshaler.
func (ms *members) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		m := member{Name: name.(string)}
		if err := d.Decode(&m); err != nil {
			return err
		}
		*ms = append(*ms, m)
	}
	return nil
}

// kinds are the model's types in terms of package model and of Go.
var kinds = map[string]struct{ kind, goType string }{
	"structure": {"Structure", ""},
	"list":      {"List", ""},
	"map":       {"Map", ""},
	"string":    {"String", "*string"},
	"integer":   {"Integer", "*int64"},
	"long":      {"Integer", "*int64"},
	"double":    {"Double", "*float64"},
	"float":     {"Double", "*float64"},
	"boolean":   {"Boolean", "*bool"},
	"blob":      {"Blob", "[]byte"},
	"timestamp": {"Timestamp", "*Time"},
}

var locations = map[string]string{
	"uri": "InURI", "querystring": "InQuery", "header": "InHeader", "statusCode": "InStatus",
}

// check refuses a model with anything that the generated code would drop.
func (m *model) check() error {
	for name, s := range m.Shapes {
		if _, ok := kinds[s.Type]; !ok {
			return fmt.Errorf("shape %s: unknown type %q", name, s.Type)
		}
		for _, mem := range s.Members {
			if _, ok := locations[mem.Location]; mem.Location != "" && !ok {
				return fmt.Errorf("shape %s: member %s: unknown location %q", name, mem.Name, mem.Location)
			}
			if _, ok := m.Shapes[mem.Shape]; !ok {
				return fmt.Errorf("shape %s: member %s: unknown shape %q", name, mem.Name, mem.Shape)
			}
			if mem.Location == "" && mem.LocationName != "" && mem.LocationName != mem.Name {
				return fmt.Errorf("shape %s: member %s: renamed in JSON", name, mem.Name)
			}
		}
	}
	return nil
}

// inputShapes returns the names of all shapes that requests are made of, sorted.
func (m *model) inputShapes() []string {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if name == "" || seen[name] {
			return
		}
		seen[name] = true
		s := m.Shapes[name]
		for _, mem := range s.Members {
			visit(mem.Shape)
		}
		visit(s.Member.Shape)
		visit(s.Key.Shape)
		visit(s.Value.Shape)
	}
	for _, op := range m.Operations {
		visit(op.Input.Shape)
	}
	return slices.Sorted(maps.Keys(seen))
}

// goType returns the Go type of a member of the named shape.
func (m *model) goType(name string) string {
	switch s := m.Shapes[name]; s.Type {
	case "structure":
		return "*" + name
	case "list":
		return "[]" + m.elemType(s.Member.Shape)
	case "map":
		return "map[string]" + m.elemType(s.Value.Shape)
	default:
		return kinds[s.Type].goType
	}
}

// elemType returns the Go type of an element: values, not pointers.
func (m *model) elemType(name string) string {
	t := m.goType(name)
	if t[0] == '*' {
		return t[1:]
	}
	return t
}
