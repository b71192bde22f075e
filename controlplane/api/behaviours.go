package api

// behaviours is the table of what Kiln does for each operation of the model;
// one that is not here is answered as not available. Invoke is served apart.
func (a *API) behaviours() map[string]operation {
	return map[string]operation{
		"CreateFunction":              behaviour(a.createFunction),
		"GetFunction":                 behaviour(a.getFunction),
		"GetFunctionConfiguration":    behaviour(a.getFunctionConfiguration),
		"ListFunctions":               behaviour(a.listFunctions),
		"UpdateFunctionCode":          behaviour(a.updateFunctionCode),
		"UpdateFunctionConfiguration": behaviour(a.updateFunctionConfiguration),
		"DeleteFunction":              behaviour(a.deleteFunction),
		"PublishVersion":              behaviour(a.publishVersion),
		"ListVersionsByFunction":      behaviour(a.listVersionsByFunction),
		"PutFunctionConcurrency":      behaviour(a.putFunctionConcurrency),
		"GetFunctionConcurrency":      behaviour(a.getFunctionConcurrency),
		"DeleteFunctionConcurrency":   behaviour(a.deleteFunctionConcurrency),
		"GetAccountSettings":          behaviour(a.getAccountSettings),
		"ListTags":                    behaviour(a.listTags),
		"GetRuntimeManagementConfig":  behaviour(a.getRuntimeManagementConfig),

		// What nobody can have made in this version is truly absent.
		"GetFunctionCodeSigningConfig":      behaviour(a.getFunctionCodeSigningConfig),
		"GetPolicy":                         behaviour(a.getPolicy),
		"GetAlias":                          behaviour(a.getAlias),
		"GetFunctionUrlConfig":              behaviour(a.getFunctionURLConfig),
		"GetFunctionEventInvokeConfig":      behaviour(a.getFunctionEventInvokeConfig),
		"GetProvisionedConcurrencyConfig":   behaviour(a.getProvisionedConcurrencyConfig),
		"ListAliases":                       behaviour(a.listAliases),
		"ListFunctionUrlConfigs":            behaviour(a.listFunctionURLConfigs),
		"ListFunctionEventInvokeConfigs":    behaviour(a.listFunctionEventInvokeConfigs),
		"ListProvisionedConcurrencyConfigs": behaviour(a.listProvisionedConcurrencyConfigs),
		"ListEventSourceMappings":           behaviour(a.listEventSourceMappings),
		"ListLayers":                        behaviour(a.listLayers),
		"ListCodeSigningConfigs":            behaviour(a.listCodeSigningConfigs),
	}
}
