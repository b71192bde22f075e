package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const tiny = `{"operations":{"GetThing":{"http":{"method":"GET","requestUri":"/things/{Name}?find=Thing"},
	"input":{"shape":"GetThingRequest"},"output":{"shape":"GetThingResponse"}}},
"shapes":{
	"GetThingRequest":{"type":"structure","required":["Name"],"members":{
		"Name":{"shape":"Name","location":"uri","locationName":"Name"},
		"Size":{"shape":"Size"},"Keys":{"shape":"Keys"}}},
	"GetThingResponse":{"type":"structure","payload":"Body","members":{
		"Kind":{"shape":"Name","location":"header","locationName":"X-Kind"},"Body":{"shape":"Blob"},"at":{"shape":"Date"}}},
	"Name":{"type":"string","min":1,"max":8,"pattern":"[a-z]+","sensitive":true},
	"Size":{"type":"integer","min":0},
	"Keys":{"type":"list","member":{"shape":"Kind"}},
	"Kind":{"type":"string","enum":["a","b"]},
	"Blob":{"type":"blob"},"Date":{"type":"timestamp"},
	"Gone":{"type":"structure","exception":true,"error":{"httpStatusCode":410},"members":{"Type":{"shape":"Name"},"message":{"shape":"Name"}}}}}`

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.json")
	if err := os.WriteFile(path, []byte(tiny), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(path, dir); err != nil {
		t.Fatal(err)
	}
	for file, wants := range map[string][]string{
		"zz_routes.go": {`{Name: "GetThing", Method: "GET", Path: "/things/{Name}", Query: "find=Thing", Status: 200, Input: "GetThingRequest", Output: "GetThingResponse", New: func() any { return new(GetThingRequest) }}`},
		"zz_structures.go": {"type GetThingRequest struct {\n\tName *string  `json:\"-\"`\n\tSize *int64   `json:\"Size,omitzero\"`\n\tKeys []string `json:\"Keys,omitzero\"`\n}",
			"Body []byte  `json:\"-\"`", "At   *Time   `json:\"at,omitzero\"`"},
		"zz_shapes.go": {`{Kind: String, Min: bound(1), Max: bound(8), Pattern: ` + "`[a-z]+`" + `, Sensitive: true}`,
			`{Name: "Name", Wire: "Name", In: InURI, Shape: "Name", Required: true}`, `Enum: []string{"a", "b"}`,
			`{Name: "Kind", Wire: "X-Kind", In: InHeader}`, `{Name: "Body", In: InPayload}`},
		"zz_exceptions.go": {`"Gone": {Status: 410, MessageKey: "message", Service: false}`},
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %s:\n%s", file, want, text)
			}
		}
	}
}

func TestGenerateRefusesWhatItWouldDrop(t *testing.T) {
	for old, changed := range map[string]string{
		`"type":"timestamp"`:                            `"type":"moment"`,
		`"location":"header"`:                           `"location":"trailer"`,
		`"Size":{"shape":"Size"}`:                       `"Size":{"shape":"Sizes"}`,
		`"Keys":{"shape":"Keys"}`:                       `"Keys":{"shape":"Keys","locationName":"keys"}`,
		`"operations":{"GetThing":{"http":{"method":"G`: `"operations":[`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "model.json")
		if err := os.WriteFile(path, []byte(strings.Replace(tiny, old, changed, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(path, dir); err == nil {
			t.Errorf("%s was accepted", changed)
		}
	}
}
