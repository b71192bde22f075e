package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"encoding/base64"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

type invokeCommand struct {
	client
	Function  string `arg:"" help:"Name or ARN."`
	Payload   string `arg:"" optional:"" help:"The event, as JSON; '-' reads it from standard input, '@FILE' from a file." default:"{}"`
	Qualifier string `help:"A version or an alias."`
	Log       bool   `short:"l" help:"Print the end of the invocation's log too."`
}

func (c *invokeCommand) Run() error {
	ctx := context.Background()
	payload, err := c.payload()
	if err != nil {
		return err
	}
	api, err := c.lambda(ctx)
	if err != nil {
		return err
	}
	in := &lambda.InvokeInput{FunctionName: &c.Function, Payload: payload}
	if c.Qualifier != "" {
		in.Qualifier = &c.Qualifier
	}
	if c.Log {
		in.LogType = types.LogTypeTail
	}
	// The default client gives up long before a function's 15 minutes are over.
	out, err := api.Invoke(ctx, in, func(o *lambda.Options) {
		o.HTTPClient = http.NewBuildableClient()
		o.RetryMaxAttempts = 1
	})
	if err != nil {
		return explain(err)
	}
	if out.LogResult != nil {
		if tail, err := base64.StdEncoding.DecodeString(*out.LogResult); err == nil {
			os.Stderr.Write(tail) //nolint:errcheck // nowhere to report it
		}
	}
	fmt.Println(strings.TrimRight(string(out.Payload), "\n"))
	if out.FunctionError != nil {
		return exitCode{errors.New("the function failed (" + aws.ToString(out.FunctionError) + ")"), 2}
	}
	return nil
}

func (c *invokeCommand) payload() ([]byte, error) {
	if c.Payload == "-" {
		return io.ReadAll(os.Stdin)
	}
	if name, ok := strings.CutPrefix(c.Payload, "@"); ok {
		return os.ReadFile(name)
	}
	return []byte(c.Payload), nil
}
