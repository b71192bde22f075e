package model

import "slices"

// extraRoutes is where operations go that AWS has and the model file does
// not have yet, written by hand: the table below, their structures beside it,
// their shapes by an init function that adds to shapes.
var extraRoutes []Route

// Routes returns every operation that requests are routed to. The
// result is the caller's.
func Routes() []Route { return slices.Concat(routes, extraRoutes) }

// LookupException returns the error shape of that name, if the model has it.
func LookupException(name string) (Exception, bool) {
	e, ok := exceptions[name]
	return e, ok
}
