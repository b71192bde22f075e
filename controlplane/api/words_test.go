package api

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"kiln/lambda"
)

const (
	invalidParameter = "InvalidParameterValueException"
	validation       = "ValidationException"
	functions        = "/2015-03-31/functions"
	longName         = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm" // 65
)

// create is a body of CreateFunction with members added or replaced.
func create(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"FunctionName":"g","Runtime":"python3.12","Handler":"a.b","Role":"` + roleARN + `","Code":{"ZipFile":"emlw"}` + members + `}`
}

func variables(n int) string {
	return `"Environment":{"Variables":{"AB":"` + strings.Repeat("x", n) + `"}}`
}

func tags(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"t%d":"v"`, i)
	}
	return `"Tags":{` + b.String()[1:] + `}`
}

func TestRefusals(t *testing.T) {
	e := newEdge(t)
	e.function("f")
	put, post := "PUT", "POST"
	config, code := functions+"/f/configuration", functions+"/f/code"
	unavailable := " is not available in this version of Kiln."
	for _, tc := range []struct{ method, path, body, shape, message string }{
		{post, functions, create(`"Timeout":901`), validation,
			"1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"},
		{post, functions, create(`"MemorySize":10241`), invalidParameter,
			"'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"},
		{post, functions, create(`"MemorySize":127`), validation,
			"1 validation error detected: Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"},
		{post, functions, create(`"EphemeralStorage":{"Size":10241}`), validation,
			"1 validation error detected: Value '10241' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value less than or equal to 10240"},
		{post, functions, create(`"Description":"` + strings.Repeat("d", 257) + `"`), validation,
			"1 validation error detected: Value '" + strings.Repeat("d", 257) + "' at 'description' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{post, functions, create(`"Runtime":"cobol85"`), invalidParameter,
			"Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: " + listed(lambda.SupportedRuntimes()) + " or be a valid ARN"},
		{post, functions, create(`"Runtime":null`), invalidParameter,
			"Runtime and Handler are mandatory parameters for functions created with deployment packages."},
		{post, functions, create(`"Handler":null`), invalidParameter,
			"Runtime and Handler are mandatory parameters for functions created with deployment packages."},
		{post, functions, create(`"FunctionName":"` + longName + `"`), validation,
			"1 validation error detected: Value '" + longName + "' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{post, functions, create(`"FunctionName":"g:1"`), invalidParameter, "This operation is permitted on Lambda functions only."},
		{post, functions, create(`"Code":{}`), invalidParameter, "Please provide a source for function code."},
		{post, functions, create(`"Code":{"ZipFile":""}`), invalidParameter, "Uploaded file must be a non-empty zip"},
		{post, functions, create(`"Code":{"ZipFile":"emlw","S3Bucket":"bucket"}`), invalidParameter,
			"Please do not provide other FunctionCode parameters when providing a ZipFile."},
		{post, functions, create(`"Code":{"S3Bucket":"bucket","S3Key":"k"}`), invalidParameter,
			"S3Bucket is not available in this version of Kiln: send the code as ZipFile."},
		{post, functions, create(`"Code":{"ZipFile":"emlw","SourceKMSKeyArn":"arn:aws:kms:x"}`), invalidParameter, "SourceKMSKeyArn" + " is not available"},
		{post, functions, create(`"DeadLetterConfig":{"TargetArn":"arn:aws:sqs:us-east-1:000000000000:q"}`), invalidParameter, "DeadLetterConfig is not available in this version of Kiln."},
		{post, functions, create(`"KMSKeyArn":"arn:aws:kms:us-east-1:000000000000:key/k"`), invalidParameter, "KMSKeyArn is not available in this version of Kiln."},
		{post, functions, create(`"TracingConfig":{"Mode":"Active"}`), invalidParameter, "TracingConfig with the mode Active is not available in this version of Kiln."},
		{post, functions, create(`"TracingConfig":{"Mode":"PassThrough"},"DeadLetterConfig":{"TargetArn":""},"KMSKeyArn":""`), "", ""},
		{post, functions, create(variables(4096 - 9)), "", ""}, // {"AB":"…"} of 4,096 bytes
		{post, functions, create(variables(4096 - 8)), invalidParameter,
			unconfigurable + `exceeded the 4KB limit. String measured: {"AB":"` + strings.Repeat("x", 4088) + `"}`},
		{post, functions, create(`"Environment":{"Variables":{"AWS_REGION":"x","OK_1":"y","AWS_ACCESS_KEY_ID":"z"}}`), invalidParameter,
			unconfigurable + "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_ACCESS_KEY_ID, AWS_REGION"},
		{post, functions, create(`"Environment":{"Variables":{"AB":"a\u0000b"}}`), invalidParameter, "The value of the environment variable AB contains a NUL character."},
		{post, functions, create(`"LoggingConfig":{"SystemLogLevel":"WARN"}`), invalidParameter,
			"ApplicationLogLevel and SystemLogLevel can be set only when LogFormat is JSON."},
		{post, functions, create(tags(50)), "", ""},
		{post, functions, create(tags(51)), invalidParameter, "Number of tags exceeds resource tag limit."},
		{post, functions, create(`"Tags":{"":"v"}`), invalidParameter, `The tag key "" must have between 1 and 128 characters.`},
		{post, functions, create(`"Tags":{"aws:x":"v"}`), invalidParameter, `The tag key "aws:x" begins with the reserved prefix aws:`},
		{post, functions, create(`"Architectures":["arm64"]`), invalidParameter,
			"Architecture arm64 cannot run on this installation of Kiln, which offers [x86_64]."},
		{post, functions, create(`"PackageType":"Image"`), invalidParameter, "PackageType Image" + unavailable},
		{post, functions, create(`"VpcConfig":{"SubnetIds":["s"]}`), invalidParameter, "VpcConfig" + unavailable},
		{post, functions, create(`"Layers":["arn:aws:lambda:us-east-1:000000000000:layer:l:1"]`), invalidParameter, "Layers" + unavailable},
		{post, functions, create(`"ImageConfig":{"Command":["c"]}`), invalidParameter, "ImageConfig" + unavailable},
		{post, functions, create(`"SnapStart":{"ApplyOn":"PublishedVersions"}`), invalidParameter, "SnapStart" + unavailable},
		{post, functions, create(`"DurableConfig":{"ExecutionTimeout":1}`), invalidParameter, "DurableConfig" + unavailable},
		{post, functions, create(`"TenancyConfig":{"TenantIsolationMode":"PER_TENANT"}`), invalidParameter, "TenancyConfig" + unavailable},
		{post, functions, create(`"PublishTo":"LATEST_PUBLISHED"`), invalidParameter, "PublishTo" + unavailable},
		{post, functions, create(`"VpcConfig":{"SubnetIds":[],"SecurityGroupIds":[]},"Layers":[],"FileSystemConfigs":[],"ImageConfig":{},"SnapStart":{"ApplyOn":"None"}`), "", ""},
		{post, functions, `{"FunctionName":3}`, "SerializationException", "NUMBER_VALUE can not be converted to a String"},
		{post, functions, `{"FunctionName"`, "SerializationException", "Could not parse request body into json: "},

		{put, config, `{"Timeout":901}`, validation, "1 validation error detected: Value '901' at 'timeout'"},
		{put, config, `{"MemorySize":20000}`, invalidParameter, "'MemorySize' value failed to satisfy constraint"},
		{put, config, `{"Handler":""}`, validation, "1 validation error detected: Value '' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern"},
		{put, config, `{"Layers":["arn:aws:lambda:us-east-1:000000000000:layer:l:1"]}`, invalidParameter, "Layers" + unavailable},
		{put, config, `{` + variables(5000) + `}`, invalidParameter, unconfigurable + "exceeded the 4KB limit."},
		{put, config, `{"LoggingConfig":{"ApplicationLogLevel":"INFO"}}`, invalidParameter, "ApplicationLogLevel and SystemLogLevel can be set only"},
		{put, functions + "/f:1/configuration", `{}`, invalidParameter, "This operation is permitted on Lambda functions only."},
		{put, functions + "/gone/configuration", `{}`, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:000000000000:function:gone"},
		{put, code, `{}`, invalidParameter, "Please provide a source for function code."},
		{put, code, `{"ImageUri":"x"}`, invalidParameter, "ImageUri is not available"},
		{put, code, `{"ZipFile":"emlw","Architectures":["arm64"]}`, invalidParameter, "Architecture arm64 cannot run"},
		{post, functions + "/f/versions", `{"PublishTo":"LATEST_PUBLISHED"}`, invalidParameter, "PublishTo" + unavailable},

		{"GET", functions + "/" + strings.Repeat("n", 257), "", validation, "1 validation error detected: Value '" + strings.Repeat("n", 257) + "' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{"GET", functions + "/bad%20name", "", validation, "1 validation error detected: Value 'bad name' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"GET", functions + "?MaxItems=0", "", validation, "1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"GET", functions + "?MaxItems=x", "", "SerializationException", ""},
		{"GET", functions + "/f:1?Qualifier=2", "", invalidParameter, "The derived qualifier from the function name does not match the specified qualifier."},
		{"GET", functions + "/arn:aws:lambda:eu-west-1:000000000000:function:f", "", "ResourceNotFoundException", "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"},
		{"GET", functions + "/111111111111:f:1", "", "AccessDeniedException", "User: arn:aws:iam::000000000000:user/me is not authorized to perform: lambda:GetFunction " +
			"on resource: arn:aws:lambda:us-east-1:111111111111:function:f:1 because no resource-based policy allows the lambda:GetFunction action"},
		{"GET", functions + "/f/policy", "", "ResourceNotFoundException", "The resource you requested does not exist."},
		{"GET", functions + "/gone/aliases", "", "ResourceNotFoundException", "Function not found: "},
		{"GET", functions + "/f/aliases/live", "", "ResourceNotFoundException", "Cannot find alias arn: arn:aws:lambda:us-east-1:000000000000:function:f:live"},
		{"GET", "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1", "", "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function"},
		{"GET", "/2015-03-31/nothing", "", "UnknownOperationException", "There is no operation GET /2015-03-31/nothing."},
		{post, functions + "/f/aliases", `{}`, "NotImplementedException", "CreateAlias" + unavailable},
		{post, "/2014-11-13/functions/f/invoke-async/", `{}`, "NotImplementedException", "InvokeAsync" + unavailable},
		{post, "/2021-11-15/functions/f/response-streaming-invocations", `{}`, "NotImplementedException", "InvokeWithResponseStream" + unavailable},
		{put, "/2017-10-31/functions/f/concurrency", `{}`, validation, "1 validation error detected: Value null at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must not be null"},
	} {
		a := e.do(tc.method, tc.path, tc.body)
		got := a.header.Get("X-Amzn-ErrorType")
		text := a.message("message") + a.message("Message")
		if got != tc.shape || !strings.HasPrefix(text, tc.message) || tc.shape == "" && a.status/100 != 2 {
			t.Errorf("%s %s %.300s\n got %d %s: %s\nwant %s: %s", tc.method, tc.path, tc.body, a.status, got, text, tc.shape, tc.message)
		}
	}
	if e.logs.Len() > 0 {
		t.Errorf("a caller's mistake was logged: %s", e.logs)
	}
}

func TestRequestSizes(t *testing.T) {
	e := newEdge(t)
	zip := base64.StdEncoding.EncodeToString(make([]byte, lambda.MaxZipBytes-1<<10))
	body := create(`"Code":{"ZipFile":"` + zip + `"}`)
	if a := e.do("POST", functions, body); a.status != 201 || len(e.reg.created.Zip) != lambda.MaxZipBytes-1<<10 {
		t.Errorf("nearly 50 MB: %d %.200s", a.status, a.body)
	}
	a := e.do("POST", functions, body+strings.Repeat(" ", maxCodeRequestBytes-len(body)+1))
	want := "Request must be smaller than 69905067 bytes for the CreateFunction operation"
	if a.status != 413 || a.header.Get("X-Amzn-ErrorType") != "RequestEntityTooLargeException" || a.message("Message") != want {
		t.Errorf("one byte more than allowed: %d %s", a.status, a.body)
	}
	a = e.do("PUT", functions+"/f/configuration", `{"Description":"`+strings.Repeat("x", lambda.MaxSyncRequestBytes)+`"}`)
	if a.status != 413 {
		t.Errorf("a 6 MB configuration: %d %.200s", a.status, a.body)
	}
}
