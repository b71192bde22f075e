package api

import (
	"kiln/controlplane"
	"kiln/controlplane/api/model"
	"kiln/lambda"
)

func (a *API) createFunction(c *call, in *model.CreateFunctionRequest) (*model.FunctionConfiguration, error) {
	key, err := a.whole(c, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	config, err := a.newConfig(key.Name, in)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if err := checkCode(in.Code.ZipFile, in.Code.S3Bucket, in.Code.S3Key, in.Code.S3ObjectVersion, in.Code.ImageUri, in.Code.SourceKMSKeyArn); err != nil {
		return nil, err
	}
	v, err := a.Functions.Create(c, controlplane.NewFunction{
		Key: key, Config: config, Zip: in.Code.ZipFile, Tags: in.Tags, Publish: deref(in.Publish),
	})
	if err != nil {
		return nil, err
	}
	return a.configuration(v, false), nil
}

// newConfig returns a new function's configuration with AWS's defaults.
func (a *API) newConfig(name string, in *model.CreateFunctionRequest) (lambda.Config, error) {
	config := lambda.Config{
		Description:        deref(in.Description),
		Role:               *in.Role,
		Handler:            deref(in.Handler),
		PackageType:        lambda.PackageZip,
		Architecture:       a.Architectures[0],
		MemoryMB:           lambda.DefaultMemoryMB,
		Timeout:            lambda.DefaultTimeout,
		EphemeralStorageMB: lambda.DefaultEphemeralStorageMB,
		TracingMode:        "PassThrough",
		KMSKeyARN:          deref(in.KMSKeyArn),
	}
	if err := checkCreatable(in); err != nil {
		return config, err
	}
	runtime, err := runtimeSetting(in.Runtime)
	if err != nil {
		return config, err
	}
	if runtime == nil || config.Handler == "" {
		return config, invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	config.Runtime = *runtime
	if timeout, err := timeoutSetting(in.Timeout); err != nil {
		return config, err
	} else if timeout != nil {
		config.Timeout = *timeout
	}
	if memory, err := memorySetting(in.MemorySize); err != nil {
		return config, err
	} else if memory != nil {
		config.MemoryMB = *memory
	}
	if storage := storageSetting(in.EphemeralStorage); storage != nil {
		config.EphemeralStorageMB = *storage
	}
	if arch, err := a.architectureSetting(in.Architectures); err != nil {
		return config, err
	} else if arch != "" {
		config.Architecture = arch
	}
	if config.Environment, err = environmentSetting(in.Environment); err != nil {
		return config, err
	}
	if in.TracingConfig != nil && in.TracingConfig.Mode != nil {
		config.TracingMode = *in.TracingConfig.Mode
	}
	if in.DeadLetterConfig != nil {
		config.DeadLetterTarget = deref(in.DeadLetterConfig.TargetArn)
	}
	config.Logging, err = loggingSetting(in.LoggingConfig, lambda.Logging{Format: lambda.LogText, Group: "/aws/lambda/" + name})
	return config, err
}

func checkCreatable(in *model.CreateFunctionRequest) error {
	switch {
	case deref(in.PackageType) == string(lambda.PackageImage):
		return notHonoured("PackageType Image")
	case deref(in.CodeSigningConfigArn) != "":
		return notHonoured("CodeSigningConfigArn")
	case in.PublishTo != nil:
		return notHonoured("PublishTo")
	case in.TenancyConfig != nil:
		return notHonoured("TenancyConfig")
	}
	if err := checkDelivery(in.DeadLetterConfig, in.KMSKeyArn, in.TracingConfig); err != nil {
		return err
	}
	return checkUnavailable(in.VpcConfig, in.Layers, in.FileSystemConfigs, in.ImageConfig, in.SnapStart,
		in.CapacityProviderConfig, in.DurableConfig)
}

// checkDelivery refuses what would be kept and not done: no events are sent to
// dead-letter targets, nothing is encrypted with a key of the caller's, and no
// traces are taken. The values that turn these off are accepted.
func checkDelivery(deadLetter *model.DeadLetterConfig, kmsKey *string, tracing *model.TracingConfig) error {
	switch {
	case deadLetter != nil && deref(deadLetter.TargetArn) != "":
		return notHonoured("DeadLetterConfig")
	case deref(kmsKey) != "":
		return notHonoured("KMSKeyArn")
	case tracing != nil && deref(tracing.Mode) == "Active":
		return notHonoured("TracingConfig with the mode Active")
	}
	return nil
}

// checkCode checks that code comes as a zip archive and in no other way.
func checkCode(zip []byte, bucket, key, version, image, kmsKey *string) error {
	other := ""
	switch {
	case bucket != nil:
		other = "S3Bucket"
	case key != nil:
		other = "S3Key"
	case version != nil:
		other = "S3ObjectVersion"
	case image != nil:
		other = "ImageUri"
	case kmsKey != nil && *kmsKey != "":
		other = "SourceKMSKeyArn"
	}
	switch {
	case zip != nil && other != "" && other != "SourceKMSKeyArn":
		return invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case other != "":
		return invalid("%s is not available in this version of Kiln: send the code as ZipFile.", other)
	case zip == nil:
		return invalid("Please provide a source for function code.")
	case len(zip) == 0:
		return invalid("Uploaded file must be a non-empty zip")
	case len(zip) > lambda.MaxZipBytes:
		return lambda.Errorf(lambda.CodeRequestTooLarge, "The zip archive must be at most %d bytes.", lambda.MaxZipBytes)
	}
	return nil
}
