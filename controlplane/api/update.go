package api

import (
	"kiln/controlplane"
	"kiln/controlplane/api/model"
	"kiln/lambda"
)

func (a *API) updateFunctionCode(c *call, in *model.UpdateFunctionCodeRequest) (*model.FunctionConfiguration, error) {
	key, err := a.whole(c, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	if in.PublishTo != nil {
		return nil, notHonoured("PublishTo")
	}
	if err := checkCode(in.ZipFile, in.S3Bucket, in.S3Key, in.S3ObjectVersion, in.ImageUri, in.SourceKMSKeyArn); err != nil {
		return nil, err
	}
	arch, err := a.architectureSetting(in.Architectures)
	if err != nil {
		return nil, err
	}
	v, err := a.Functions.UpdateCode(c, controlplane.CodeChange{
		Key: key, Zip: in.ZipFile, Architecture: arch,
		Publish: deref(in.Publish), DryRun: deref(in.DryRun), RevisionID: deref(in.RevisionId),
	})
	if err != nil {
		return nil, err
	}
	return a.configuration(v, false), nil
}

func (a *API) updateFunctionConfiguration(c *call, in *model.UpdateFunctionConfigurationRequest) (*model.FunctionConfiguration, error) {
	key, err := a.whole(c, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	change, err := a.configChange(c, key, in)
	if err != nil {
		return nil, err
	}
	v, err := a.Functions.UpdateConfig(c, change)
	if err != nil {
		return nil, err
	}
	return a.configuration(v, false), nil
}

func (a *API) configChange(c *call, key lambda.FunctionKey, in *model.UpdateFunctionConfigurationRequest) (controlplane.ConfigChange, error) {
	change := controlplane.ConfigChange{
		Key: key, Description: in.Description, Role: in.Role, Handler: in.Handler,
		EphemeralStorageMB: storageSetting(in.EphemeralStorage),
		KMSKeyARN:          in.KMSKeyArn,
		RevisionID:         deref(in.RevisionId),
	}
	if err := checkDelivery(in.DeadLetterConfig, in.KMSKeyArn, in.TracingConfig); err != nil {
		return change, err
	}
	err := checkUnavailable(in.VpcConfig, in.Layers, in.FileSystemConfigs, in.ImageConfig, in.SnapStart,
		in.CapacityProviderConfig, in.DurableConfig)
	if err != nil {
		return change, err
	}
	if change.Runtime, err = runtimeSetting(in.Runtime); err != nil {
		return change, err
	}
	if in.Handler != nil && *in.Handler == "" {
		return change, invalid("Handler must not be empty.")
	}
	if change.Timeout, err = timeoutSetting(in.Timeout); err != nil {
		return change, err
	}
	if change.MemoryMB, err = memorySetting(in.MemorySize); err != nil {
		return change, err
	}
	if change.Environment, err = environmentSetting(in.Environment); err != nil {
		return change, err
	}
	if in.TracingConfig != nil {
		change.TracingMode = in.TracingConfig.Mode
	}
	if in.DeadLetterConfig != nil {
		change.DeadLetterTarget = new(deref(in.DeadLetterConfig.TargetArn))
	}
	if in.LoggingConfig != nil {
		// A change may name one setting only; the others stay as they are.
		current, _, err := a.Functions.Get(c, key, "")
		if err != nil {
			return change, err
		}
		logging, err := loggingSetting(in.LoggingConfig, current.Config.Logging)
		if err != nil {
			return change, err
		}
		change.Logging = &logging
	}
	return change, nil
}

func (a *API) publishVersion(c *call, in *model.PublishVersionRequest) (*model.FunctionConfiguration, error) {
	key, err := a.whole(c, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	if in.PublishTo != nil {
		return nil, notHonoured("PublishTo")
	}
	v, err := a.Functions.Publish(c, controlplane.Publication{
		Key: key, Description: in.Description, CodeSHA256: deref(in.CodeSha256), RevisionID: deref(in.RevisionId),
	})
	if err != nil {
		return nil, err
	}
	return a.configuration(v, false), nil
}

func (a *API) deleteFunction(c *call, in *model.DeleteFunctionRequest) (*model.DeleteFunctionResponse, error) {
	ref, err := a.resolve(c, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if err := a.Functions.Delete(c, lambda.FunctionKey{Account: ref.Account, Name: ref.Name}, ref.Qualifier); err != nil {
		return nil, err
	}
	// The model's 200 is for functions that take time to delete.
	return &model.DeleteFunctionResponse{StatusCode: new(int64(204))}, nil
}

func (a *API) putFunctionConcurrency(c *call, in *model.PutFunctionConcurrencyRequest) (*model.Concurrency, error) {
	key, err := a.whole(c, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	reserved := *in.ReservedConcurrentExecutions
	if err := a.Functions.PutConcurrency(c, key, int(reserved)); err != nil {
		return nil, err
	}
	return &model.Concurrency{ReservedConcurrentExecutions: &reserved}, nil
}

func (a *API) deleteFunctionConcurrency(c *call, in *model.DeleteFunctionConcurrencyRequest) (*struct{}, error) {
	key, err := a.whole(c, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	return nil, a.Functions.DeleteConcurrency(c, key)
}
