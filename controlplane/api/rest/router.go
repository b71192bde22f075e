package rest

import (
	"net/url"
	"strings"

	"kiln/controlplane/api/model"
)

// Router finds the operation of a request. It is immutable.
type Router struct{ root node }

// node is one segment of the paths of routes.
type node struct {
	fixed  map[string]*node
	param  *node
	routes []*model.Route
}

// NewRouter returns a router for the routes.
func NewRouter(routes []model.Route) *Router {
	r := &Router{}
	for i := range routes {
		n := &r.root
		for segment := range strings.SplitSeq(strings.Trim(routes[i].Path, "/"), "/") {
			n = n.child(segment)
		}
		n.routes = append(n.routes, &routes[i])
	}
	return r
}

func (n *node) child(segment string) *node {
	if segment[0] == '{' {
		if n.param == nil {
			n.param = &node{}
		}
		return n.param
	}
	if n.fixed == nil {
		n.fixed = map[string]*node{}
	}
	if n.fixed[segment] == nil {
		n.fixed[segment] = &node{}
	}
	return n.fixed[segment]
}

// Find returns the operation of a method and URL, and the values of its path's
// parameters, decoded, by name. The route is nil if there is none. One slash at
// the end of the path means nothing; a slash or colon of a parameter may be
// percent-encoded.
func (r *Router) Find(method string, u *url.URL) (*model.Route, map[string]string) {
	path := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		decoded, err := url.PathUnescape(segment)
		if err != nil || decoded == "" {
			return nil, nil
		}
		segments = append(segments, decoded)
	}
	n := r.root.find(segments)
	if n == nil {
		return nil, nil
	}
	route := n.pick(method, u)
	if route == nil {
		return nil, nil
	}
	params := map[string]string{}
	i := 0
	for template := range strings.SplitSeq(strings.Trim(route.Path, "/"), "/") {
		if template[0] == '{' {
			params[strings.Trim(template, "{}")] = segments[i]
		}
		i++
	}
	return route, params
}

// find prefers fixed segments and falls back to parameters.
func (n *node) find(segments []string) *node {
	if len(segments) == 0 {
		if n.routes == nil {
			return nil
		}
		return n
	}
	if next := n.fixed[segments[0]]; next != nil {
		if found := next.find(segments[1:]); found != nil {
			return found
		}
	}
	if n.param != nil {
		return n.param.find(segments[1:])
	}
	return nil
}

// pick chooses among the operations of one path: a route that asks for a query
// parameter wins over one that does not.
func (n *node) pick(method string, u *url.URL) *model.Route {
	var found *model.Route
	for _, route := range n.routes {
		if route.Method != method {
			continue
		}
		if route.Query == "" {
			if found == nil {
				found = route
			}
			continue
		}
		name, value, _ := strings.Cut(route.Query, "=")
		if u.Query().Get(name) == value {
			found = route
		}
	}
	return found
}
