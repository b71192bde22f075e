package api

import (
	"strings"

	"kiln/controlplane"
	"kiln/controlplane/api/model"
	"kiln/lambda"
)

// pageSize is the greatest number of items that AWS returns at once, whatever
// MaxItems asks for.
const pageSize = 50

func page(marker *string, items *int64) controlplane.Page {
	p := controlplane.Page{Marker: deref(marker), Max: pageSize}
	if items != nil && *items < pageSize {
		p.Max = int(*items)
	}
	return p
}

// get finds the version that a request names, and says whether it named a qualifier.
func (a *API) get(c *call, name, qualifier *string) (*lambda.Version, *lambda.Function, bool, error) {
	ref, err := a.resolve(c, *name, qualifier)
	if err != nil {
		return nil, nil, false, err
	}
	v, f, err := a.Functions.Get(c, lambda.FunctionKey{Account: ref.Account, Name: ref.Name}, ref.Qualifier)
	return v, f, ref.Qualifier != "", err
}

func (a *API) getFunction(c *call, in *model.GetFunctionRequest) (*model.GetFunctionResponse, error) {
	v, f, qualified, err := a.get(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &model.GetFunctionResponse{
		Configuration: a.configuration(v, qualified),
		Code:          &model.FunctionCodeLocation{RepositoryType: new("S3")},
	}
	if a.CodeURL != nil {
		out.Code.Location = new(a.CodeURL(v))
	}
	if len(f.Tags) > 0 {
		out.Tags = f.Tags
	}
	if f.ReservedConcurrency != nil {
		out.Concurrency = &model.Concurrency{ReservedConcurrentExecutions: new(int64(*f.ReservedConcurrency))}
	}
	return out, nil
}

func (a *API) getFunctionConfiguration(c *call, in *model.GetFunctionConfigurationRequest) (*model.FunctionConfiguration, error) {
	v, _, qualified, err := a.get(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return a.configuration(v, qualified), nil
}

func (a *API) listFunctions(c *call, in *model.ListFunctionsRequest) (*model.ListFunctionsResponse, error) {
	out := &model.ListFunctionsResponse{Functions: []model.FunctionConfiguration{}}
	if m := deref(in.MasterRegion); m != "" && m != "ALL" && m != a.Region {
		return out, nil // functions replicated from elsewhere; there are none
	}
	all := in.FunctionVersion != nil
	versions, next, err := a.Functions.List(c, c.caller.Account, all, page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		out.Functions = append(out.Functions, *a.configuration(v, all))
	}
	out.NextMarker = optional(next)
	return out, nil
}

func (a *API) listVersionsByFunction(c *call, in *model.ListVersionsByFunctionRequest) (*model.ListVersionsByFunctionResponse, error) {
	ref, err := a.resolve(c, *in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	versions, next, err := a.Functions.Versions(c, lambda.FunctionKey{Account: ref.Account, Name: ref.Name}, page(in.Marker, in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &model.ListVersionsByFunctionResponse{Versions: []model.FunctionConfiguration{}, NextMarker: optional(next)}
	for _, v := range versions {
		out.Versions = append(out.Versions, *a.configuration(v, true))
	}
	return out, nil
}

func (a *API) getFunctionConcurrency(c *call, in *model.GetFunctionConcurrencyRequest) (*model.GetFunctionConcurrencyResponse, error) {
	key, err := a.whole(c, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	reserved, err := a.Functions.GetConcurrency(c, key)
	if err != nil {
		return nil, err
	}
	out := &model.GetFunctionConcurrencyResponse{}
	if reserved != nil {
		out.ReservedConcurrentExecutions = new(int64(*reserved))
	}
	return out, nil
}

func (a *API) getAccountSettings(c *call, _ *model.GetAccountSettingsRequest) (*model.GetAccountSettingsResponse, error) {
	u, err := a.Functions.AccountUsage(c, c.caller.Account)
	if err != nil {
		return nil, err
	}
	return &model.GetAccountSettingsResponse{
		AccountLimit: &model.AccountLimit{
			TotalCodeSize:                  new(u.TotalCodeSize),
			CodeSizeUnzipped:               new(u.CodeSizeUnzipped),
			CodeSizeZipped:                 new(u.CodeSizeZipped),
			ConcurrentExecutions:           new(int64(u.ConcurrentExecutions)),
			UnreservedConcurrentExecutions: new(int64(u.UnreservedConcurrentExecutions)),
		},
		AccountUsage: &model.AccountUsage{TotalCodeSize: new(u.UsedCodeSize), FunctionCount: new(u.FunctionCount)},
	}, nil
}

func (a *API) listTags(c *call, in *model.ListTagsRequest) (*model.ListTagsResponse, error) {
	if !strings.Contains(*in.Resource, ":function:") {
		return nil, lambda.Errorf(lambda.CodeNotFound, "The resource %s does not exist.", *in.Resource)
	}
	ref, err := a.resolve(c, *in.Resource, nil)
	if err != nil {
		return nil, err
	}
	if ref.Qualifier != "" {
		return nil, invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	_, f, err := a.Functions.Get(c, lambda.FunctionKey{Account: ref.Account, Name: ref.Name}, "")
	if err != nil {
		return nil, err
	}
	tags := f.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return &model.ListTagsResponse{Tags: tags}, nil
}

// getRuntimeManagementConfig says what is so for every function: it runs on the
// newest image of its runtime that this installation has.
func (a *API) getRuntimeManagementConfig(c *call, in *model.GetRuntimeManagementConfigRequest) (*model.GetRuntimeManagementConfigResponse, error) {
	v, _, _, err := a.get(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return &model.GetRuntimeManagementConfigResponse{UpdateRuntimeOn: new("Auto"), FunctionArn: new(v.ARN(true))}, nil
}
