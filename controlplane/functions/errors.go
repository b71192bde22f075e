package functions

import (
	"kiln/lambda"
)

// The errors of the life cycle, in AWS's words.

func notFound(region string, key lambda.FunctionKey, qualifier string) error {
	arn := lambda.FunctionARN(region, key.Account, key.Name)
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return lambda.Errorf(lambda.CodeNotFound, "Function not found: %s", arn)
}

func alreadyExists(key lambda.FunctionKey) error {
	return lambda.Errorf(lambda.CodeConflict, "Function already exist: %s", key.Name)
}

func revisionMismatch() error {
	return lambda.Errorf(lambda.CodePreconditionFailed, "The Revision Id provided does not match the latest Revision Id. "+
		"Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
}

func updateInProgress(v *lambda.Version) error {
	return lambda.Errorf(lambda.CodeConflict,
		"The operation cannot be performed at this time. An update is in progress for resource: %s", v.ARN(false))
}

func wrongState(s lambda.State) error {
	return lambda.Errorf(lambda.CodeConflict,
		"The operation cannot be performed at this time. The function is currently in the following state: %s", s)
}

func codeStorageExceeded() error {
	return lambda.Errorf(lambda.CodeCodeStorageExceeded, "Code storage limit exceeded.")
}

func reservedTooHigh(minimum int) error {
	return lambda.Errorf(lambda.CodeInvalidParameter, "Specified ReservedConcurrentExecutions for function decreases "+
		"account's UnreservedConcurrentExecution below its minimum value of [%d].", minimum)
}

func codeMismatch(given, current string) error {
	return lambda.Errorf(lambda.CodeInvalidParameter, "CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). "+
		"Please try again with the CodeSHA256 in $LATEST.", given, current)
}

func latestNotDeletable() error {
	return lambda.Errorf(lambda.CodeInvalidParameter, "$LATEST version cannot be deleted without deleting the function.")
}

func aliasNotDeletable() error {
	return lambda.Errorf(lambda.CodeInvalidParameter, "Deletion of aliases is not currently supported.")
}

func imageFunctionNeedsImage() error {
	return lambda.Errorf(lambda.CodeInvalidParameter, "Please provide ImageUri when updating a function with packageType Image.")
}

// unavailable hides a failure of the store, which the caller can only retry.
func unavailable(cause error) error {
	return &lambda.Error{Code: lambda.CodeUnavailable, Message: "The function registry cannot be reached.", Cause: cause}
}
