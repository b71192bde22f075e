package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
)

// client is how the commands that use a running Kiln reach it. They are
// ordinary clients of its API and use AWS's own SDK.
type client struct {
	Data     string `help:"The data directory of the Kiln to use, for its endpoint and credentials." default:"${data}" env:"KILN_DATA" type:"path"`
	Endpoint string `help:"The endpoint to use instead, with the credentials of your AWS configuration." env:"KILN_ENDPOINT"`
}

// endpointFile tells where the Kiln of a data directory listens.
const endpointFile = "endpoint"

// credentialsFile holds its access key, in the format of AWS's tools.
const credentialsFile = "credentials"

func (c *client) config(ctx context.Context) (aws.Config, error) {
	if c.Endpoint != "" {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithBaseEndpoint(c.Endpoint))
		if err == nil && cfg.Region == "" {
			cfg.Region = "us-east-1"
		}
		return cfg, err
	}
	endpoint, err := os.ReadFile(filepath.Join(c.Data, endpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return aws.Config{}, fmt.Errorf("no Kiln has run with the data directory %s: start one with 'kiln up', or name another with --data or --endpoint", c.Data)
	}
	if err != nil {
		return aws.Config{}, err
	}
	credentials, err := os.Open(filepath.Join(c.Data, credentialsFile))
	if err != nil {
		return aws.Config{}, fmt.Errorf("the credentials of this Kiln cannot be read: %w: run this as the user who runs 'kiln up', or use --endpoint with credentials of your own", err)
	}
	credentials.Close()
	return config.LoadDefaultConfig(ctx,
		config.WithBaseEndpoint(strings.TrimSpace(string(endpoint))),
		config.WithSharedConfigFiles(nil),
		config.WithSharedCredentialsFiles([]string{filepath.Join(c.Data, credentialsFile)}),
		config.WithSharedConfigProfile("default"),
		config.WithRegion("us-east-1"),
	)
}

func (c *client) lambda(ctx context.Context) (*lambda.Client, error) {
	cfg, err := c.config(ctx)
	if err != nil {
		return nil, err
	}
	return lambda.NewFromConfig(cfg), nil
}

func (c *client) logs(ctx context.Context) (*cloudwatchlogs.Client, error) {
	cfg, err := c.config(ctx)
	if err != nil {
		return nil, err
	}
	return cloudwatchlogs.NewFromConfig(cfg), nil
}

// explain turns the SDK's error into what a person needs to know.
func explain(err error) error {
	var api smithy.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &api):
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	case strings.Contains(err.Error(), "connection refused"):
		return errors.New("nothing listens at the endpoint: is 'kiln up' running?")
	}
	return err
}
