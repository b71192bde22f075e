package functions

import (
	"fmt"
	"strconv"
	"strings"

	"kiln/lambda"
)

// The registry's keys in etcd. Everything that the catalog follows is below one
// prefix, so that one watch sees each transaction whole.
//
//	/kiln/functions/record/ACCOUNT/NAME          record
//	/kiln/functions/version/ACCOUNT/NAME/NUMBER  lambda.Version, published
//	/kiln/functions/account/ACCOUNT              account
//	/kiln/functions/retired/ACCOUNT/NAME         last version number of a deleted function
//	/kiln/identity                               random name of this store
const (
	rootPrefix    = "/kiln/functions/"
	recordPrefix  = rootPrefix + "record/"
	versionPrefix = rootPrefix + "version/"
	accountPrefix = rootPrefix + "account/"
	retiredPrefix = rootPrefix + "retired/"
	identityKey   = "/kiln/identity"
)

// numberDigits makes the keys of versions sort by number.
const numberDigits = 10

func recordsOf(account string) string        { return recordPrefix + account + "/" }
func recordKey(k lambda.FunctionKey) string  { return recordsOf(k.Account) + k.Name }
func versionsOf(k lambda.FunctionKey) string { return versionPrefix + k.Account + "/" + k.Name + "/" }
func accountKey(account string) string       { return accountPrefix + account }
func retiredKey(k lambda.FunctionKey) string { return retiredPrefix + k.Account + "/" + k.Name }
func versionKey(k lambda.FunctionKey, n int) string {
	return versionsOf(k) + fmt.Sprintf("%0*d", numberDigits, n)
}

// parsed is what a key names: a record (number 0) or a published version.
type parsed struct {
	function lambda.FunctionKey
	number   int
}

// parseKey parses the key of a record or a version; ok is false for any other.
func parseKey(key string) (p parsed, ok bool) {
	if rest, found := strings.CutPrefix(key, recordPrefix); found {
		p.function.Account, p.function.Name, ok = strings.Cut(rest, "/")
		return p, ok
	}
	rest, found := strings.CutPrefix(key, versionPrefix)
	if !found {
		return p, false
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return p, false
	}
	n, err := strconv.Atoi(parts[2])
	return parsed{lambda.FunctionKey{Account: parts[0], Name: parts[1]}, n}, err == nil
}
