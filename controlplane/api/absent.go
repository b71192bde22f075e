package api

import (
	"kiln/controlplane/api/model"
	"kiln/lambda"
)

// The answers of operations about features whose resources nobody can have made
// yet. Tools ask for them around the basic operations; "none" is the truth.

// exists is nil if the caller can reach the function and it exists.
func (a *API) exists(c *call, name, qualifier *string) (lambda.FunctionRef, error) {
	ref, err := a.resolve(c, *name, qualifier)
	if err != nil {
		return ref, err
	}
	_, _, err = a.Functions.Get(c, lambda.FunctionKey{Account: ref.Account, Name: ref.Name}, ref.Qualifier)
	return ref, err
}

func noSuchResource() error {
	return lambda.Errorf(lambda.CodeNotFound, "The resource you requested does not exist.")
}

func (a *API) getFunctionCodeSigningConfig(c *call, in *model.GetFunctionCodeSigningConfigRequest) (*model.GetFunctionCodeSigningConfigResponse, error) {
	_, err := a.exists(c, in.FunctionName, nil)
	return &model.GetFunctionCodeSigningConfigResponse{}, err
}

func (a *API) getPolicy(c *call, in *model.GetPolicyRequest) (*model.GetPolicyResponse, error) {
	if _, err := a.exists(c, in.FunctionName, in.Qualifier); err != nil {
		return nil, err
	}
	return nil, noSuchResource()
}

func (a *API) getAlias(c *call, in *model.GetAliasRequest) (*model.AliasConfiguration, error) {
	ref, err := a.exists(c, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	return nil, lambda.Errorf(lambda.CodeNotFound, "Cannot find alias arn: %s:%s",
		lambda.FunctionARN(a.Region, ref.Account, ref.Name), *in.Name)
}

func (a *API) getFunctionURLConfig(c *call, in *model.GetFunctionUrlConfigRequest) (*model.GetFunctionUrlConfigResponse, error) {
	if _, err := a.exists(c, in.FunctionName, in.Qualifier); err != nil {
		return nil, err
	}
	return nil, noSuchResource()
}

func (a *API) getFunctionEventInvokeConfig(c *call, in *model.GetFunctionEventInvokeConfigRequest) (*model.FunctionEventInvokeConfig, error) {
	ref, err := a.exists(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	qualifier := ref.Qualifier
	if qualifier == "" {
		qualifier = lambda.Latest
	}
	return nil, lambda.Errorf(lambda.CodeNotFound, "The function %s:%s doesn't have an EventInvokeConfig",
		lambda.FunctionARN(a.Region, ref.Account, ref.Name), qualifier)
}

func (a *API) getProvisionedConcurrencyConfig(c *call, in *model.GetProvisionedConcurrencyConfigRequest) (*model.GetProvisionedConcurrencyConfigResponse, error) {
	if _, err := a.exists(c, in.FunctionName, in.Qualifier); err != nil {
		return nil, err
	}
	return nil, &shapeError{"ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function"}
}

func (a *API) listAliases(c *call, in *model.ListAliasesRequest) (*model.ListAliasesResponse, error) {
	_, err := a.exists(c, in.FunctionName, in.FunctionVersion)
	return &model.ListAliasesResponse{Aliases: []model.AliasConfiguration{}}, err
}

func (a *API) listFunctionURLConfigs(c *call, in *model.ListFunctionUrlConfigsRequest) (*model.ListFunctionUrlConfigsResponse, error) {
	_, err := a.exists(c, in.FunctionName, nil)
	return &model.ListFunctionUrlConfigsResponse{FunctionUrlConfigs: []model.FunctionUrlConfig{}}, err
}

func (a *API) listFunctionEventInvokeConfigs(c *call, in *model.ListFunctionEventInvokeConfigsRequest) (*model.ListFunctionEventInvokeConfigsResponse, error) {
	_, err := a.exists(c, in.FunctionName, nil)
	return &model.ListFunctionEventInvokeConfigsResponse{FunctionEventInvokeConfigs: []model.FunctionEventInvokeConfig{}}, err
}

func (a *API) listProvisionedConcurrencyConfigs(c *call, in *model.ListProvisionedConcurrencyConfigsRequest) (*model.ListProvisionedConcurrencyConfigsResponse, error) {
	_, err := a.exists(c, in.FunctionName, nil)
	return &model.ListProvisionedConcurrencyConfigsResponse{
		ProvisionedConcurrencyConfigs: []model.ProvisionedConcurrencyConfigListItem{}}, err
}

func (a *API) listEventSourceMappings(*call, *model.ListEventSourceMappingsRequest) (*model.ListEventSourceMappingsResponse, error) {
	return &model.ListEventSourceMappingsResponse{EventSourceMappings: []model.EventSourceMappingConfiguration{}}, nil
}

func (a *API) listLayers(*call, *model.ListLayersRequest) (*model.ListLayersResponse, error) {
	return &model.ListLayersResponse{Layers: []model.LayersListItem{}}, nil
}

func (a *API) listCodeSigningConfigs(*call, *model.ListCodeSigningConfigsRequest) (*model.ListCodeSigningConfigsResponse, error) {
	return &model.ListCodeSigningConfigsResponse{CodeSigningConfigs: []model.CodeSigningConfig{}}, nil
}
