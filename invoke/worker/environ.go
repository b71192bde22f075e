package worker

import (
	"maps"
	"slices"
	"strconv"

	"kiln/lambda"
)

// environ returns the environment of a function's process: the runtime's own
// variables, the owner's, and the reserved ones, later ones winning ("Defined
// runtime environment variables" in AWS's guide).
func environ(v *lambda.Version, runtimeEnv []string, runtimeAPI, stream string) []string {
	vars := make(map[string]string, len(runtimeEnv)+len(v.Config.Environment)+20)
	for _, kv := range runtimeEnv {
		name, value := splitVar(kv)
		vars[name] = value
	}
	maps.Copy(vars, v.Config.Environment)
	reserved := map[string]string{
		"_HANDLER":                        v.Config.Handler,
		"AWS_REGION":                      v.Region,
		"AWS_DEFAULT_REGION":              v.Region,
		"AWS_LAMBDA_FUNCTION_NAME":        v.Key.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     v.Key.Number,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(v.Config.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       v.Config.Logging.Group,
		"AWS_LAMBDA_LOG_STREAM_NAME":      stream,
		"AWS_LAMBDA_RUNTIME_API":          runtimeAPI,
		"AWS_LAMBDA_LOG_FORMAT":           string(v.Config.Logging.Format),
		"LAMBDA_TASK_ROOT":                "/var/task",
		"LAMBDA_RUNTIME_DIR":              "/var/runtime",
	}
	if level := v.Config.Logging.ApplicationLevel; level != "" {
		reserved["AWS_LAMBDA_LOG_LEVEL"] = level
	}
	maps.Copy(vars, reserved)
	if _, ok := vars["TZ"]; !ok {
		vars["TZ"] = ":UTC"
	}
	env := make([]string, 0, len(vars))
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func splitVar(kv string) (name, value string) {
	for i := range kv {
		if kv[i] == '=' {
			return kv[:i], kv[i+1:]
		}
	}
	return kv, ""
}
