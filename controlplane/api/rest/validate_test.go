package rest

import (
	"errors"
	"strings"
	"testing"

	"kiln/lambda"
)

const (
	role    = "arn:aws:iam::000000000000:role/r"
	rolePat = `arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`
)

func TestValidateWords(t *testing.T) {
	good := `"FunctionName":"f","Role":"` + role + `","Code":{"ZipFile":"YQ=="}`
	for _, tc := range []struct{ operation, body, want string }{
		{"CreateFunction", `{` + good + `}`, ""},
		{"CreateFunction", `{` + good + `,"Runtime":"cobol"}`, ""}, // left to the operation
		{"CreateFunction", `{"FunctionName":"f","Role":"` + role + `"}`,
			"1 validation error detected: Value null at 'code' failed to satisfy constraint: Member must not be null"},
		{"CreateFunction", `{}`, "3 validation errors detected: " +
			"Value null at 'functionName' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'role' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'code' failed to satisfy constraint: Member must not be null"},
		{"CreateFunction", `{"FunctionName":"f","Role":"me","Code":{}}`,
			"1 validation error detected: Value 'me' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: " + rolePat},
		{"CreateFunction", `{` + good + `,"Timeout":0}`,
			"1 validation error detected: Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"CreateFunction", `{` + good + `,"MemorySize":40000}`,
			"1 validation error detected: Value '40000' at 'memorySize' failed to satisfy constraint: Member must have value less than or equal to 32768"},
		{"CreateFunction", `{` + good + `,"EphemeralStorage":{"Size":511}}`,
			"1 validation error detected: Value '511' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512"},
		{"CreateFunction", `{` + good + `,"EphemeralStorage":{}}`,
			"1 validation error detected: Value null at 'ephemeralStorage.size' failed to satisfy constraint: Member must not be null"},
		{"CreateFunction", `{` + good + `,"Architectures":["sparc"]}`,
			"1 validation error detected: Value '[sparc]' at 'architectures' failed to satisfy constraint: " +
				"Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"},
		{"CreateFunction", `{` + good + `,"Architectures":["x86_64","arm64"]}`,
			"1 validation error detected: Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1"},
		{"CreateFunction", `{` + good + `,"TracingConfig":{"Mode":"Maybe"}}`,
			"1 validation error detected: Value 'Maybe' at 'tracingConfig.mode' failed to satisfy constraint: Member must satisfy enum value set: [Active, PassThrough]"},
		{"CreateFunction", `{` + good + `,"KMSKeyArn":"k"}`,
			"1 validation error detected: Value 'k' at 'kMSKeyArn' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()"},
		{"CreateFunction", `{` + good + `,"Environment":{"Variables":{"1":"x"}}}`,
			"1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: " +
				"Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+, Member must not be null]"},
		{"CreateFunction", `{` + good + `,"FileSystemConfigs":[{"Arn":"","LocalMountPath":"/mnt/a"}]}`,
			"1 validation error detected: Value '' at 'fileSystemConfigs.1.member.arn' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"CreateAlias", `{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"x":0.5}}}`,
			"1 validation error detected: Value '{x=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: " +
				"Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, " +
				"Member must satisfy regular expression pattern: [0-9]+, Member must not be null]"},
		{"CreateAlias", `{"Name":"123","FunctionVersion":"1"}`,
			"1 validation error detected: Value '123' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"},
		{"PutFunctionConcurrency", `{"ReservedConcurrentExecutions":-1}`,
			"1 validation error detected: Value '-1' at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 0"},
	} {
		in, err := decodeBody(t, tc.operation, tc.body)
		if err != nil {
			t.Fatalf("%s: %v", tc.body, err)
		}
		got := ""
		if err := Validate(in, routeOf(t, tc.operation).Input); err != nil {
			var e *lambda.Error
			if !errors.As(err, &e) || e.Code != lambda.CodeValidation {
				t.Fatalf("%s: %v", tc.body, err)
			}
			got = e.Message
		}
		if got != tc.want && (!strings.HasSuffix(tc.want, ": ") || !strings.HasPrefix(got, tc.want)) {
			t.Errorf("%s %s:\n got %s\nwant %s", tc.operation, tc.body, got, tc.want)
		}
	}
}
