package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

type logsCommand struct {
	client
	Function string        `arg:"" help:"Name of the function."`
	Follow   bool          `short:"f" help:"Go on printing what comes."`
	Since    time.Duration `help:"How far back to begin." default:"1h"`
	Filter   string        `help:"A CloudWatch Logs filter pattern."`
}

// pollEvery is how often --follow asks for what is new.
const pollEvery = 300 * time.Millisecond

func (c *logsCommand) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	functions, err := c.lambda(ctx)
	if err != nil {
		return err
	}
	f, err := functions.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &c.Function})
	if err != nil {
		return explain(err)
	}
	group := "/aws/lambda/" + aws.ToString(f.FunctionName)
	if f.LoggingConfig != nil && f.LoggingConfig.LogGroup != nil {
		group = *f.LoggingConfig.LogGroup
	}
	api, err := c.logs(ctx)
	if err != nil {
		return err
	}
	return c.print(ctx, api, group)
}

// print shows the events from the beginning on. An event may have the same
// time as the last one that was shown, so those of that time are remembered.
func (c *logsCommand) print(ctx context.Context, api *cloudwatchlogs.Client, group string) error {
	from := time.Now().Add(-c.Since).UnixMilli()
	shown := map[string]bool{}
	for {
		in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, StartTime: &from}
		if c.Filter != "" {
			in.FilterPattern = &c.Filter
		}
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(api, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			var missing *types.ResourceNotFoundException
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.As(err, &missing): // nothing has been logged yet
			case err != nil:
				return explain(err)
			}
			if err != nil {
				break
			}
			for _, e := range page.Events {
				at, id := aws.ToInt64(e.Timestamp), aws.ToString(e.EventId)
				if shown[id] {
					continue
				}
				if at > from {
					from = at
					clear(shown)
				}
				shown[id] = true
				fmt.Printf("%s %s\n", time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000Z"), strings.TrimRight(aws.ToString(e.Message), "\n"))
			}
		}
		if !c.Follow {
			return nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil
		}
	}
}
