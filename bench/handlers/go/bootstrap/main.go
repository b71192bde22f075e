// Command bootstrap is the handler as a Lambda function.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"kiln/bench/handlers/go/hello"
)

func main() {
	lambda.Start(hello.Handle)
}
