package rest

import (
	"net/url"
	"strings"
	"testing"

	"kiln/controlplane/api/model"
)

func TestRouter(t *testing.T) {
	router := NewRouter(model.Routes())
	arn := "arn:aws:lambda:us-east-1:000000000000:function:f:1"
	encoded := strings.ReplaceAll(arn, ":", "%3A")
	for _, tc := range []struct{ method, url, name, function string }{
		{"POST", "/2015-03-31/functions", "CreateFunction", ""},
		{"POST", "/2015-03-31/functions/", "CreateFunction", ""},
		{"GET", "/2015-03-31/functions/?MaxItems=1", "ListFunctions", ""},
		{"GET", "/2015-03-31/functions/f", "GetFunction", "f"},
		{"GET", "/2015-03-31/functions/f/", "GetFunction", "f"},
		{"GET", "/2015-03-31/functions/" + arn, "GetFunction", arn},
		{"GET", "/2015-03-31/functions/" + encoded + "/configuration", "GetFunctionConfiguration", arn},
		{"POST", "/2015-03-31/functions/" + encoded + "/invocations", "Invoke", arn},
		{"POST", "/2014-11-13/functions/f/invoke-async/", "InvokeAsync", "f"},
		{"GET", "/2018-10-31/layers", "ListLayers", ""},
		{"GET", "/2018-10-31/layers?find=LayerVersion&Arn=x", "GetLayerVersionByArn", ""},
		{"GET", "/2019-09-30/functions/f/provisioned-concurrency?List=ALL", "ListProvisionedConcurrencyConfigs", "f"},
		{"GET", "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1", "GetProvisionedConcurrencyConfig", "f"},
		{"GET", "/2019-09-25/functions/f/event-invoke-config/list", "ListFunctionEventInvokeConfigs", "f"},
		{"GET", "/2015-03-31/functions/a%2Fb", "GetFunction", "a/b"},
		{"PATCH", "/2015-03-31/functions/f", "", ""},
		{"GET", "/2015-03-31/functions//configuration", "", ""},
		{"GET", "/2015-03-31/functions/f/nothing", "", ""},
		{"GET", "/2015-03-31/functions/f//", "", ""},
		{"GET", "/2015-03-31", "", ""},
		{"GET", "/", "", ""},
	} {
		u, err := url.ParseRequestURI(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		route, params := router.Find(tc.method, u)
		name := ""
		if route != nil {
			name = route.Name
		}
		if name != tc.name || params["FunctionName"] != tc.function {
			t.Errorf("%s %s: got %q %v, want %q %q", tc.method, tc.url, name, params, tc.name, tc.function)
		}
	}
}
