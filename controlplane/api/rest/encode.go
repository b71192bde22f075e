package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"kiln/controlplane/api/model"
)

// Encode writes an operation's output, a pointer to its Go structure or nil, as
// the response of success. Nothing is written when the error is not nil, unless
// the connection failed.
func Encode(w http.ResponseWriter, route *model.Route, out any) error {
	status := route.Status
	var body []byte
	if out != nil {
		if s := model.LookupOutput(route.Output); s != nil {
			v := reflect.ValueOf(out).Elem()
			for i, m := range s.Members {
				field := v.Field(i)
				if absent(field) {
					continue
				}
				switch m.In {
				case model.InStatus:
					status = int(field.Elem().Int())
				case model.InHeader:
					w.Header().Set(m.Wire, text(field.Elem()))
				case model.InPayload:
					body = field.Bytes()
				}
			}
		}
		if body == nil {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if err := e.Encode(out); err != nil {
				return fmt.Errorf("encode the output of %s: %w", route.Name, err)
			}
			body = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
		}
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return nil
	}
	WriteJSON(w, status, body)
	return nil
}

// WriteJSON writes a response whose body is JSON text. A client that has gone
// is not an error: there is nobody to tell.
func WriteJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

var jsonType = []string{"application/json"}
