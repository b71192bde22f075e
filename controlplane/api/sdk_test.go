package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"kiln/lambda"
)

// client is AWS's own client of the edge.
func (e *edge) client() *sdk.Client {
	return sdk.New(sdk.Options{
		Region: region, BaseEndpoint: aws.String(e.server.URL), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, nil
		}),
	})
}

func TestSDKLifeOfAFunction(t *testing.T) {
	e, ctx := newEdge(t), context.Background()
	c := e.client()
	created, err := c.CreateFunction(ctx, &sdk.CreateFunctionInput{
		FunctionName: aws.String("hello"), Role: aws.String(roleARN), Runtime: types.RuntimePython312, Handler: aws.String("a.b"),
		Code: &types.FunctionCode{ZipFile: []byte("zip")}, Tags: map[string]string{"team": "a"},
		Environment: &types.Environment{Variables: map[string]string{"KEY": "<&>"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	in := e.reg.created
	want := lambda.Config{Role: roleARN, Runtime: "python3.12", Handler: "a.b", PackageType: "Zip", Architecture: "x86_64", MemoryMB: 128,
		Timeout: 3 * time.Second, EphemeralStorageMB: 512, TracingMode: "PassThrough", Environment: map[string]string{"KEY": "<&>"},
		Logging: lambda.Logging{Format: "Text", Group: "/aws/lambda/hello"}}
	if !reflect.DeepEqual(in.Config, want) || string(in.Zip) != "zip" || in.Key != (lambda.FunctionKey{Account: account, Name: "hello"}) {
		t.Errorf("defaults: got %+v, want %+v", in, want)
	}
	if aws.ToString(created.FunctionArn) != "arn:aws:lambda:us-east-1:000000000000:function:hello" || created.State != types.StateActive ||
		*created.MemorySize != 128 || *created.Timeout != 3 || created.Environment.Variables["KEY"] != "<&>" || created.PackageType != "Zip" ||
		*created.LastModified != "2026-01-02T03:04:05.006+0000" || *created.EphemeralStorage.Size != 512 || created.SnapStart.ApplyOn != "None" ||
		*created.LoggingConfig.LogGroup != "/aws/lambda/hello" || created.TracingConfig.Mode != "PassThrough" ||
		*created.RuntimeVersionConfig.RuntimeVersionArn != "arn:aws:lambda:us-east-1::runtime:python3.12" || created.Architectures[0] != "x86_64" {
		t.Errorf("created: %+v", created)
	}
	if err := sdk.NewFunctionActiveV2Waiter(c).Wait(ctx, &sdk.GetFunctionInput{FunctionName: aws.String("hello")}, time.Second); err != nil {
		t.Error(err)
	}
	got, err := c.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: created.FunctionArn, Qualifier: aws.String("$LATEST")})
	if err != nil || *got.Code.Location != "http://127.0.0.1"+CodePath+"hello" || got.Tags["team"] != "a" || got.Concurrency != nil ||
		*got.Configuration.FunctionArn != *created.FunctionArn+":$LATEST" {
		t.Errorf("got: %+v, %v", got, err)
	}

	if _, err := c.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{
		FunctionName: aws.String("hello"), Timeout: aws.Int32(9), Description: aws.String(""), Environment: &types.Environment{},
		LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatJson}, RevisionId: aws.String("r1"),
	}); err != nil {
		t.Fatal(err)
	}
	if ch := e.reg.config; *ch.Timeout != 9*time.Second || *ch.Description != "" || ch.Role != nil || ch.MemoryMB != nil || ch.Environment == nil ||
		len(ch.Environment) != 0 || ch.RevisionID != "r1" ||
		*ch.Logging != (lambda.Logging{Format: "JSON", ApplicationLevel: "INFO", SystemLevel: "INFO", Group: "/aws/lambda/hello"}) {
		t.Errorf("change: %+v", ch)
	}
	if _, err := c.UpdateFunctionCode(ctx, &sdk.UpdateFunctionCodeInput{FunctionName: aws.String("hello"), ZipFile: []byte("new"),
		DryRun: true, Publish: true, Architectures: []types.Architecture{"x86_64"}}); err != nil {
		t.Fatal(err)
	}
	if ch := e.reg.code; string(ch.Zip) != "new" || !ch.DryRun || !ch.Publish || ch.Architecture != lambda.X86_64 {
		t.Errorf("code change: %+v", ch)
	}
	published, err := c.PublishVersion(ctx, &sdk.PublishVersionInput{FunctionName: aws.String("hello")})
	if err != nil || *published.Version != "1" || *published.FunctionArn != *created.FunctionArn+":1" {
		t.Errorf("published: %+v, %v", published, err)
	}
	versions, err := c.ListVersionsByFunction(ctx, &sdk.ListVersionsByFunctionInput{FunctionName: aws.String("hello"), MaxItems: aws.Int32(10000)})
	if err != nil || len(versions.Versions) != 2 || *versions.Versions[0].FunctionArn != *created.FunctionArn+":$LATEST" || e.reg.page.Max != 50 {
		t.Errorf("versions: %+v, %v, page %+v", versions, err, e.reg.page)
	}
	if _, err := c.DeleteFunction(ctx, &sdk.DeleteFunctionInput{FunctionName: aws.String("hello")}); err != nil {
		t.Error(err)
	}
	_, err = c.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: aws.String("hello")})
	var gone *types.ResourceNotFoundException
	if !errors.As(err, &gone) || aws.ToString(gone.Type) != "User" || *gone.Message != "Function not found: "+*created.FunctionArn {
		t.Errorf("after deletion: %v", err)
	}
}

func TestSDKLists(t *testing.T) {
	e, ctx := newEdge(t), context.Background()
	c := e.client()
	empty, err := c.ListFunctions(ctx, &sdk.ListFunctionsInput{})
	if err != nil || empty.Functions == nil || len(empty.Functions) != 0 {
		t.Errorf("none: %+v, %v", empty, err)
	}
	for _, name := range []string{"a", "b", "c"} {
		e.function(name)
	}
	var names []string
	for p := sdk.NewListFunctionsPaginator(c, &sdk.ListFunctionsInput{MaxItems: aws.Int32(3)}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range out.Functions {
			names = append(names, *f.FunctionArn)
		}
	}
	prefix := "arn:aws:lambda:us-east-1:000000000000:function:"
	if !slices.Equal(names, []string{prefix + "a", prefix + "b", prefix + "c"}) || e.reg.page.Max != 3 {
		t.Errorf("names: %v, page %+v", names, e.reg.page)
	}
	all, err := c.ListFunctions(ctx, &sdk.ListFunctionsInput{FunctionVersion: types.FunctionVersionAll})
	if err != nil || len(all.Functions) != 6 || *all.Functions[0].FunctionArn != prefix+"a:$LATEST" || *all.Functions[1].FunctionArn != prefix+"a:1" {
		t.Errorf("all: %+v, %v", all, err)
	}
	elsewhere, err := c.ListFunctions(ctx, &sdk.ListFunctionsInput{MasterRegion: aws.String("eu-west-1"), FunctionVersion: types.FunctionVersionAll})
	if err != nil || len(elsewhere.Functions) != 0 {
		t.Errorf("replicated from elsewhere: %+v, %v", elsewhere, err)
	}
}

func TestSDKConcurrencyAndAccount(t *testing.T) {
	e, ctx := newEdge(t), context.Background()
	e.function("f")
	c, name := e.client(), aws.String("f")
	if out, err := c.GetFunctionConcurrency(ctx, &sdk.GetFunctionConcurrencyInput{FunctionName: name}); err != nil || out.ReservedConcurrentExecutions != nil {
		t.Errorf("none: %+v, %v", out, err)
	}
	for _, n := range []int32{0, 7} {
		if out, err := c.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: name, ReservedConcurrentExecutions: aws.Int32(n)}); err != nil || *out.ReservedConcurrentExecutions != n {
			t.Errorf("put %d: %+v, %v", n, out, err)
		}
		if out, err := c.GetFunctionConcurrency(ctx, &sdk.GetFunctionConcurrencyInput{FunctionName: name}); err != nil || *out.ReservedConcurrentExecutions != n {
			t.Errorf("get %d: %+v, %v", n, out, err)
		}
		if out, err := c.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: name}); err != nil || *out.Concurrency.ReservedConcurrentExecutions != n {
			t.Errorf("function with %d: %+v, %v", n, out, err)
		}
	}
	if _, err := c.DeleteFunctionConcurrency(ctx, &sdk.DeleteFunctionConcurrencyInput{FunctionName: name}); err != nil || e.reg.shared["f"].ReservedConcurrency != nil {
		t.Errorf("delete: %v", err)
	}
	out, err := c.GetAccountSettings(ctx, &sdk.GetAccountSettingsInput{})
	if err != nil || out.AccountLimit.ConcurrentExecutions != 1000 || *out.AccountLimit.UnreservedConcurrentExecutions != 900 ||
		out.AccountUsage.FunctionCount != 3 || out.AccountUsage.TotalCodeSize != 77 || out.AccountLimit.TotalCodeSize != 1<<30 {
		t.Errorf("account: %+v, %v", out, err)
	}
}

func TestSDKInvoke(t *testing.T) {
	e, ctx := newEdge(t), context.Background()
	e.plane.resp = InvokeResponse{ExecutedVersion: "1", FunctionError: "Unhandled", LogResult: []byte("log"), Payload: []byte(`{}`)}
	out, err := e.client().Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("arn:aws:lambda:us-east-1:000000000000:function:f:1"),
		Payload: []byte(`[1]`), LogType: types.LogTypeTail})
	if err != nil || out.StatusCode != 200 || *out.ExecutedVersion != "1" || *out.FunctionError != "Unhandled" || *out.LogResult != "bG9n" ||
		!bytes.Equal(out.Payload, []byte(`{}`)) || string(e.plane.last.Payload) != "[1]" || e.plane.last.Function.Qualifier != "1" {
		t.Errorf("got %+v, %v; asked %+v", out, err, e.plane.last)
	}
	e.plane.err = lambda.Throttled(lambda.ReasonConcurrentInvocations)
	_, err = e.client().Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f")})
	var throttled *types.TooManyRequestsException
	if !errors.As(err, &throttled) || throttled.Reason != types.ThrottleReasonConcurrentInvocationLimitExceeded || *throttled.Message != "Rate Exceeded." {
		t.Errorf("throttle: %v", err)
	}
}

// TestSDKAbsent asks what Terraform and other tools ask around the basic operations.
func TestSDKAbsent(t *testing.T) {
	e, ctx := newEdge(t), context.Background()
	e.function("f")
	c, name := e.client(), aws.String("f")
	tags, err := c.ListTags(ctx, &sdk.ListTagsInput{Resource: aws.String("arn:aws:lambda:us-east-1:000000000000:function:f")})
	if err != nil || !maps.Equal(tags.Tags, map[string]string{"k": "v"}) {
		t.Errorf("tags: %+v, %v", tags, err)
	}
	signing, err := c.GetFunctionCodeSigningConfig(ctx, &sdk.GetFunctionCodeSigningConfigInput{FunctionName: name})
	if err != nil || signing.CodeSigningConfigArn != nil {
		t.Errorf("code signing: %+v, %v", signing, err)
	}
	management, err := c.GetRuntimeManagementConfig(ctx, &sdk.GetRuntimeManagementConfigInput{FunctionName: name})
	if err != nil || management.UpdateRuntimeOn != types.UpdateRuntimeOnAuto {
		t.Errorf("runtime management: %+v, %v", management, err)
	}
	_, err = c.GetPolicy(ctx, &sdk.GetPolicyInput{FunctionName: name})
	wantCode(t, err, "ResourceNotFoundException")
	_, err = c.GetFunctionUrlConfig(ctx, &sdk.GetFunctionUrlConfigInput{FunctionName: name})
	wantCode(t, err, "ResourceNotFoundException")
	_, err = c.GetFunctionEventInvokeConfig(ctx, &sdk.GetFunctionEventInvokeConfigInput{FunctionName: name})
	wantCode(t, err, "ResourceNotFoundException")
	for what, err := range map[string]error{
		"aliases":      second(c.ListAliases(ctx, &sdk.ListAliasesInput{FunctionName: name})),
		"urls":         second(c.ListFunctionUrlConfigs(ctx, &sdk.ListFunctionUrlConfigsInput{FunctionName: name})),
		"event config": second(c.ListFunctionEventInvokeConfigs(ctx, &sdk.ListFunctionEventInvokeConfigsInput{FunctionName: name})),
		"provisioned":  second(c.ListProvisionedConcurrencyConfigs(ctx, &sdk.ListProvisionedConcurrencyConfigsInput{FunctionName: name})),
		"mappings":     second(c.ListEventSourceMappings(ctx, &sdk.ListEventSourceMappingsInput{FunctionName: name})),
		"layers":       second(c.ListLayers(ctx, &sdk.ListLayersInput{})),
		"code signing": second(c.ListCodeSigningConfigs(ctx, &sdk.ListCodeSigningConfigsInput{})),
	} {
		if err != nil {
			t.Errorf("list of %s: %v", what, err)
		}
	}
	_, err = c.CreateAlias(ctx, &sdk.CreateAliasInput{FunctionName: name, Name: aws.String("a"), FunctionVersion: aws.String("1")})
	wantCode(t, err, "NotImplementedException")
}

func second[T any](_ T, err error) error { return err }

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("got %v, want %s", fmt.Sprint(err), code)
	}
}
