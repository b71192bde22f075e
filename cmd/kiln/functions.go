package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

type functionsCommand struct {
	client
}

func (c *functionsCommand) Run() error {
	ctx := context.Background()
	api, err := c.lambda(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tRUNTIME\tMEMORY\tTIMEOUT\tSTATE\tCODE\tMODIFIED")
	pages := lambda.NewListFunctionsPaginator(api, &lambda.ListFunctionsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return explain(err)
		}
		for _, f := range page.Functions {
			fmt.Fprintf(w, "%s\t%s\t%d MB\t%d s\t%s\t%.1f KB\t%s\n", aws.ToString(f.FunctionName), f.Runtime, aws.ToInt32(f.MemorySize),
				aws.ToInt32(f.Timeout), f.State, float64(f.CodeSize)/1024, aws.ToString(f.LastModified))
		}
	}
	return w.Flush()
}
