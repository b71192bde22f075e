package logs

import (
	"context"
	"slices"
	"strings"
	"time"
)

// groupRef is how requests name a group: by name, or by name or ARN.
type groupRef struct {
	LogGroupName       string `json:"logGroupName"`
	LogGroupIdentifier string `json:"logGroupIdentifier"`
}

func (g groupRef) name() (string, error) {
	switch {
	case g.LogGroupName != "" && g.LogGroupIdentifier != "":
		return "", invalid("LogGroup name and LogGroup identifier cannot both be specified.")
	case g.LogGroupName != "":
		return g.LogGroupName, nil
	case g.LogGroupIdentifier != "":
		return groupOfIdentifier(g.LogGroupIdentifier), nil
	}
	return "", invalid("1 validation error detected: Value at 'logGroupName' failed to satisfy constraint: Member must not be null")
}

// groupOfIdentifier returns the group's name that an ARN has, or a name itself.
func groupOfIdentifier(id string) string {
	if parts := strings.SplitN(id, ":", 7); len(parts) == 7 && parts[0] == "arn" && parts[5] == "log-group" {
		return strings.TrimSuffix(parts[6], ":*")
	}
	return id
}

// limited returns a limit's value, or the default.
func limited(limit *int, highest int) (int, error) {
	switch {
	case limit == nil:
		return highest, nil
	case *limit < 1:
		return 0, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1", *limit)
	case *limit > highest:
		return 0, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value less than or equal to %d", *limit, highest)
	}
	return *limit, nil
}

// millis returns a time of the API; extra is added to it, in milliseconds.
func millis(ms *int64, extra int64) (time.Time, error) {
	if ms == nil {
		return time.Time{}, nil
	}
	if *ms < 0 {
		return time.Time{}, invalid("1 validation error detected: Value '%d' at a time failed to satisfy constraint: Member must have value greater than or equal to 0", *ms)
	}
	// Years that a time.Time can hold are enough.
	return time.UnixMilli(min(*ms, 1<<53) + extra), nil
}

type outputEvent struct {
	Stream    string `json:"logStreamName,omitempty"`
	Timestamp int64  `json:"timestamp"`
	Message   string `json:"message"`
	Ingestion int64  `json:"ingestionTime"`
	ID        string `json:"eventId,omitempty"`
}

type filterLogEventsInput struct {
	groupRef
	LogStreamNames      []string `json:"logStreamNames"`
	LogStreamNamePrefix string   `json:"logStreamNamePrefix"`
	StartTime           *int64   `json:"startTime"`
	EndTime             *int64   `json:"endTime"`
	FilterPattern       string   `json:"filterPattern"`
	NextToken           string   `json:"nextToken"`
	Limit               *int     `json:"limit"`
}

type filterLogEventsOutput struct {
	Events             []outputEvent `json:"events"`
	SearchedLogStreams []struct{}    `json:"searchedLogStreams"` // empty, as AWS has it by now
	NextToken          string        `json:"nextToken,omitempty"`
}

func (h *Handler) filterLogEvents(ctx context.Context, in filterLogEventsInput) (any, error) {
	group, err := in.name()
	if err != nil {
		return nil, err
	}
	if len(in.LogStreamNames) > 0 && in.LogStreamNamePrefix != "" {
		return nil, invalid("LogStreamNamePrefix and LogStreamNames cannot both be specified.")
	}
	if len(in.LogStreamNames) > 100 {
		return nil, invalid("1 validation error detected: Value at 'logStreamNames' failed to satisfy constraint: Member must have length less than or equal to 100")
	}
	if len(in.FilterPattern) > 1024 {
		return nil, invalid("1 validation error detected: Value at 'filterPattern' failed to satisfy constraint: Member must have length less than or equal to 1024")
	}
	q := Query{
		Group: group, Streams: in.LogStreamNames, StreamPrefix: in.LogStreamNamePrefix,
		Pattern: in.FilterPattern, Token: in.NextToken,
	}
	if q.Limit, err = limited(in.Limit, MaxPageEvents); err != nil {
		return nil, err
	}
	if q.Start, err = millis(in.StartTime, 0); err != nil {
		return nil, err
	}
	if q.End, err = millis(in.EndTime, 1); err != nil { // AWS: events of endTime itself are returned
		return nil, err
	}
	if err := h.checkStreams(ctx, group, in.LogStreamNames); err != nil {
		return nil, err
	}
	page, err := h.store.Filter(ctx, q)
	if err != nil {
		return nil, err
	}
	out := filterLogEventsOutput{Events: []outputEvent{}, SearchedLogStreams: []struct{}{}, NextToken: page.Token}
	for _, e := range page.Events {
		out.Events = append(out.Events, outputEvent{e.Stream, e.Time.UnixMilli(), e.Message, e.Ingested.UnixMilli(), e.ID})
	}
	return out, nil
}

// checkStreams refuses streams that do not exist.
func (h *Handler) checkStreams(ctx context.Context, group string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	streams, err := h.store.Streams(ctx, group, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(streams, func(s Stream) bool { return s.Name == name }) {
			return ErrNoStream
		}
	}
	return nil
}

type getLogEventsInput struct {
	groupRef
	LogStreamName string `json:"logStreamName"`
	StartTime     *int64 `json:"startTime"`
	EndTime       *int64 `json:"endTime"`
	NextToken     string `json:"nextToken"`
	Limit         *int   `json:"limit"`
	StartFromHead bool   `json:"startFromHead"`
}

type getLogEventsOutput struct {
	Events            []outputEvent `json:"events"`
	NextForwardToken  string        `json:"nextForwardToken"`
	NextBackwardToken string        `json:"nextBackwardToken"`
}

func (h *Handler) getLogEvents(ctx context.Context, in getLogEventsInput) (any, error) {
	group, err := in.name()
	if err != nil {
		return nil, err
	}
	if in.LogStreamName == "" {
		return nil, invalid("1 validation error detected: Value at 'logStreamName' failed to satisfy constraint: Member must not be null")
	}
	q := StreamQuery{Group: group, Stream: in.LogStreamName, FromHead: in.StartFromHead, Token: in.NextToken}
	if q.Limit, err = limited(in.Limit, MaxPageEvents); err != nil {
		return nil, err
	}
	if q.Start, err = millis(in.StartTime, 0); err != nil {
		return nil, err
	}
	if q.End, err = millis(in.EndTime, 0); err != nil { // AWS: events of endTime itself are not returned
		return nil, err
	}
	page, err := h.store.Stream(ctx, q)
	if err != nil {
		return nil, err
	}
	out := getLogEventsOutput{Events: []outputEvent{}, NextForwardToken: page.Forward, NextBackwardToken: page.Backward}
	for _, e := range page.Events {
		out.Events = append(out.Events, outputEvent{Timestamp: e.Time.UnixMilli(), Message: e.Message, Ingestion: e.Ingested.UnixMilli()})
	}
	return out, nil
}
