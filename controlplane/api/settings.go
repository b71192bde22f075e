package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kiln/controlplane/api/model"
	"kiln/controlplane/api/rest"
	"kiln/lambda"
)

// The checks of a function's settings that go beyond the model's constraints.
// Each takes a member as decoded, nil for absent, and returns it in the domain's
// terms, nil for absent.

func invalid(format string, args ...any) error {
	return lambda.Errorf(lambda.CodeInvalidParameter, format, args...)
}

// notHonoured refuses a member that Kiln cannot honour, rather than drop it.
func notHonoured(member string) error {
	return invalid("%s is not available in this version of Kiln.", member)
}

func runtimeSetting(name *string) (*lambda.Runtime, error) {
	if name == nil {
		return nil, nil
	}
	r := lambda.Runtime(*name)
	if !r.Supported() {
		return nil, invalid("Value %s at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: %s or be a valid ARN",
			*name, listed(lambda.SupportedRuntimes()))
	}
	return &r, nil
}

func timeoutSetting(seconds *int64) (*time.Duration, error) {
	if seconds == nil {
		return nil, nil
	}
	if most := int64(lambda.MaxTimeout / time.Second); *seconds > most {
		return nil, rest.Violation(strconv.FormatInt(*seconds, 10), "timeout",
			fmt.Sprintf("Member must have value less than or equal to %d", most))
	}
	return new(time.Duration(*seconds) * time.Second), nil
}

func memorySetting(mb *int64) (*int, error) {
	if mb == nil {
		return nil, nil
	}
	if *mb > lambda.MaxMemoryMB { // the model allows what capacity providers allow
		return nil, invalid("'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to %d", lambda.MaxMemoryMB)
	}
	return new(int(*mb)), nil
}

func storageSetting(s *model.EphemeralStorage) *int {
	if s == nil {
		return nil
	}
	return new(int(*s.Size))
}

// architectureSetting is "" for absent; the model allows one at most.
func (a *API) architectureSetting(names []string) (lambda.Architecture, error) {
	if len(names) == 0 {
		return "", nil
	}
	arch := lambda.Architecture(names[0])
	if !slices.Contains(a.Architectures, arch) {
		return "", invalid("Architecture %s cannot run on this installation of Kiln, which offers %s.", arch, listed(a.Architectures))
	}
	return arch, nil
}

// loggingSetting changes current, a function's settings so far, as c asks.
func loggingSetting(c *model.LoggingConfig, current lambda.Logging) (lambda.Logging, error) {
	if c == nil {
		return current, nil
	}
	if c.LogFormat != nil {
		current.Format = lambda.LogFormat(*c.LogFormat)
	}
	if c.LogGroup != nil {
		current.Group = *c.LogGroup
	}
	if current.Format != lambda.LogJSON {
		if c.ApplicationLogLevel != nil || c.SystemLogLevel != nil {
			return current, invalid("ApplicationLogLevel and SystemLogLevel can be set only when LogFormat is JSON.")
		}
		current.ApplicationLevel, current.SystemLevel = "", ""
		return current, nil
	}
	if c.ApplicationLogLevel != nil {
		current.ApplicationLevel = *c.ApplicationLogLevel
	}
	if c.SystemLogLevel != nil {
		current.SystemLevel = *c.SystemLogLevel
	}
	if current.ApplicationLevel == "" {
		current.ApplicationLevel = "INFO"
	}
	if current.SystemLevel == "" {
		current.SystemLevel = "INFO"
	}
	return current, nil
}

// The bounds of tags ("Using tags on Lambda functions" in AWS's guide).
const (
	maxTags        = 50
	maxTagKey      = 128
	maxTagValue    = 256
	reservedTagKey = "aws:"
)

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return invalid("Number of tags exceeds resource tag limit.")
	}
	for k, v := range tags {
		switch {
		case k == "" || len([]rune(k)) > maxTagKey:
			return invalid("The tag key %q must have between 1 and %d characters.", k, maxTagKey)
		case len([]rune(v)) > maxTagValue:
			return invalid("The value of the tag %q must have at most %d characters.", k, maxTagValue)
		case strings.HasPrefix(strings.ToLower(k), reservedTagKey):
			return invalid("The tag key %q begins with the reserved prefix %s", k, reservedTagKey)
		}
	}
	return nil
}

// checkUnavailable refuses settings of features that are not there; members
// that ask for nothing are fine, because tools send them empty.
func checkUnavailable(vpc *model.VpcConfig, layers []string, fs []model.FileSystemConfig, image *model.ImageConfig,
	snap *model.SnapStart, provider *model.CapacityProviderConfig, durable *model.DurableConfig) error {
	switch {
	case vpc != nil && (len(vpc.SubnetIds) > 0 || len(vpc.SecurityGroupIds) > 0):
		return notHonoured("VpcConfig")
	case len(layers) > 0:
		return notHonoured("Layers")
	case len(fs) > 0:
		return notHonoured("FileSystemConfigs")
	case image != nil && (len(image.Command) > 0 || len(image.EntryPoint) > 0 || deref(image.WorkingDirectory) != ""):
		return notHonoured("ImageConfig")
	case snap != nil && deref(snap.ApplyOn) != "" && *snap.ApplyOn != "None":
		return notHonoured("SnapStart")
	case provider != nil:
		return notHonoured("CapacityProviderConfig")
	case durable != nil:
		return notHonoured("DurableConfig")
	}
	return nil
}

// listed writes values as AWS's messages do.
func listed[T ~string](values []T) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return "[" + strings.Join(names, ", ") + "]"
}
