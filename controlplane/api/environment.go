package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"kiln/controlplane/api/model"
	"kiln/lambda"
)

// reservedVariables are the environment variables that only the platform sets.
var reservedVariables = map[string]bool{
	"_HANDLER": true, "_X_AMZN_TRACE_ID": true,
	"AWS_DEFAULT_REGION": true, "AWS_REGION": true, "AWS_EXECUTION_ENV": true,
	"AWS_LAMBDA_FUNCTION_NAME": true, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": true, "AWS_LAMBDA_FUNCTION_VERSION": true,
	"AWS_LAMBDA_INITIALIZATION_TYPE": true, "AWS_LAMBDA_LOG_GROUP_NAME": true, "AWS_LAMBDA_LOG_STREAM_NAME": true,
	"AWS_ACCESS_KEY": true, "AWS_ACCESS_KEY_ID": true, "AWS_SECRET_ACCESS_KEY": true, "AWS_SESSION_TOKEN": true,
	"AWS_LAMBDA_RUNTIME_API": true, "LAMBDA_TASK_ROOT": true, "LAMBDA_RUNTIME_DIR": true,
	"AWS_LAMBDA_MAX_CONCURRENCY": true, "AWS_LAMBDA_METADATA_API": true, "AWS_LAMBDA_METADATA_TOKEN": true,
}

// unconfigurable begins AWS's refusals of environment variables.
const unconfigurable = "Lambda was unable to configure your environment variables because the environment variables you have provided "

// environmentSetting returns the variables: nil for absent, empty for none.
func environmentSetting(e *model.Environment) (map[string]string, error) {
	if e == nil {
		return nil, nil
	}
	if e.Variables == nil {
		return map[string]string{}, nil
	}
	var reserved []string
	for _, name := range slices.Sorted(maps.Keys(e.Variables)) {
		if reservedVariables[name] {
			reserved = append(reserved, name)
		}
		if strings.ContainsRune(e.Variables[name], 0) {
			return nil, invalid("The value of the environment variable %s contains a NUL character.", name)
		}
	}
	if reserved != nil {
		return nil, invalid(unconfigurable+"contains reserved keys that are currently not supported for modification. "+
			"Reserved keys used in this request: %s", strings.Join(reserved, ", "))
	}
	if measured := measuredText(e.Variables); len(measured) > lambda.MaxEnvironmentBytes {
		return nil, invalid(unconfigurable+"exceeded the 4KB limit. String measured: %s", measured)
	}
	return e.Variables, nil
}

// measuredText is the text whose length the 4 KB limit is about: the variables as JSON.
func measuredText(variables map[string]string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(variables) // a map of strings always has JSON
	return strings.TrimSuffix(b.String(), "\n")
}
