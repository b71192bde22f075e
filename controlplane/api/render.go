package api

import (
	"time"

	"kiln/controlplane/api/model"
	"kiln/lambda"
)

// lastModifiedLayout is how AWS writes LastModified.
const lastModifiedLayout = "2006-01-02T15:04:05.000-0700"

// configuration is a version as the API shows it. A published version always
// has its qualified ARN, $LATEST only when qualified is true.
func (a *API) configuration(v *lambda.Version, qualified bool) *model.FunctionConfiguration {
	cfg := &v.Config
	out := &model.FunctionConfiguration{
		FunctionName:     new(v.Key.Name),
		FunctionArn:      new(v.ARN(qualified || v.Key.Number != lambda.Latest)),
		Runtime:          optional(string(cfg.Runtime)),
		Role:             new(cfg.Role),
		Handler:          optional(cfg.Handler),
		CodeSize:         new(v.Code.Size),
		Description:      new(cfg.Description),
		Timeout:          new(int64(cfg.Timeout / time.Second)),
		MemorySize:       new(int64(cfg.MemoryMB)),
		LastModified:     new(v.LastModified.UTC().Format(lastModifiedLayout)),
		CodeSha256:       new(v.Code.SHA256),
		Version:          new(v.Key.Number),
		KMSKeyArn:        optional(cfg.KMSKeyARN),
		TracingConfig:    &model.TracingConfigResponse{Mode: new(cfg.TracingMode)},
		RevisionId:       new(v.RevisionID),
		State:            optional(string(v.State)),
		StateReason:      optional(v.StateReason),
		StateReasonCode:  optional(v.StateReasonCode),
		LastUpdateStatus: optional(string(v.UpdateStatus)),

		LastUpdateStatusReason:     optional(v.UpdateReason),
		LastUpdateStatusReasonCode: optional(v.UpdateReasonCode),

		PackageType:      new(string(cfg.PackageType)),
		Architectures:    []string{string(cfg.Architecture)},
		EphemeralStorage: &model.EphemeralStorage{Size: new(int64(cfg.EphemeralStorageMB))},
		SnapStart:        &model.SnapStartResponse{ApplyOn: new("None"), OptimizationStatus: new("Off")},
		LoggingConfig: &model.LoggingConfig{
			LogFormat:           new(string(cfg.Logging.Format)),
			ApplicationLogLevel: optional(cfg.Logging.ApplicationLevel),
			SystemLogLevel:      optional(cfg.Logging.SystemLevel),
			LogGroup:            new(cfg.Logging.Group),
		},
	}
	if len(cfg.Environment) > 0 {
		out.Environment = &model.EnvironmentResponse{Variables: cfg.Environment}
	}
	if cfg.DeadLetterTarget != "" {
		out.DeadLetterConfig = &model.DeadLetterConfig{TargetArn: new(cfg.DeadLetterTarget)}
	}
	if arn := a.runtimeVersion(cfg.Runtime); arn != "" {
		out.RuntimeVersionConfig = &model.RuntimeVersionConfig{RuntimeVersionArn: &arn}
	}
	return out
}

func (a *API) runtimeVersion(r lambda.Runtime) string {
	if a.RuntimeVersionARN == nil || r == "" {
		return ""
	}
	return a.RuntimeVersionARN(r)
}

// optional is nil for "", which leaves the member out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// deref is the value, or the zero value of none.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
