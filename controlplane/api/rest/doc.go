// Package rest speaks the REST-JSON protocol of AWS: it finds the operation of
// a request, decodes the request into the model's structures, checks the
// model's constraints, and writes structures as responses. It knows the model
// and nothing of what operations do. All functions are safe for concurrent use.
package rest
