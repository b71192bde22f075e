package logs

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// maxDescribed is how many groups or streams a page has at most.
const maxDescribed = 50

// after is the content of a token of a Describe operation: the last item that
// the client has.
type after struct {
	Time int64  `json:"t,omitempty"`
	Name string `json:"n"`
}

func (a after) token() string {
	b, _ := json.Marshal(a) // cannot fail
	return base64.URLEncoding.EncodeToString(b)
}

func parseAfter(token string) (after, error) {
	var a after
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(b, &a) != nil || a.Name == "" {
		return a, ErrToken
	}
	return a, nil
}

type describeLogGroupsInput struct {
	LogGroupNamePrefix  string   `json:"logGroupNamePrefix"`
	LogGroupNamePattern string   `json:"logGroupNamePattern"`
	LogGroupIdentifiers []string `json:"logGroupIdentifiers"`
	NextToken           string   `json:"nextToken"`
	Limit               *int     `json:"limit"`
}

type describedGroup struct {
	Name              string `json:"logGroupName"`
	Created           int64  `json:"creationTime"`
	RetentionDays     int    `json:"retentionInDays,omitempty"`
	MetricFilterCount int    `json:"metricFilterCount"`
	ARN               string `json:"arn"`
	StoredBytes       int64  `json:"storedBytes"`
	Class             string `json:"logGroupClass"`
	GroupARN          string `json:"logGroupArn"`
}

type describeLogGroupsOutput struct {
	LogGroups []describedGroup `json:"logGroups"`
	NextToken string           `json:"nextToken,omitempty"`
}

func (h *Handler) groupARN(name string) string {
	return "arn:aws:logs:" + h.region + ":" + h.account + ":log-group:" + name
}

func (h *Handler) describeLogGroups(ctx context.Context, in describeLogGroupsInput) (any, error) {
	limit, err := limited(in.Limit, maxDescribed)
	if err != nil {
		return nil, err
	}
	if in.LogGroupNamePrefix != "" && in.LogGroupNamePattern != "" {
		return nil, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	var last after
	if in.NextToken != "" {
		if last, err = parseAfter(in.NextToken); err != nil {
			return nil, err
		}
	}
	var wanted map[string]bool
	if len(in.LogGroupIdentifiers) > 0 {
		wanted = make(map[string]bool)
		for _, id := range in.LogGroupIdentifiers {
			wanted[groupOfIdentifier(id)] = true
		}
	}
	groups, err := h.store.Groups(ctx, in.LogGroupNamePrefix)
	if err != nil {
		return nil, err
	}
	out := describeLogGroupsOutput{LogGroups: []describedGroup{}}
	for _, g := range groups {
		if g.Name <= last.Name || wanted != nil && !wanted[g.Name] ||
			!strings.Contains(strings.ToLower(g.Name), strings.ToLower(in.LogGroupNamePattern)) {
			continue
		}
		if n := len(out.LogGroups); n == limit {
			out.NextToken = after{Name: out.LogGroups[n-1].Name}.token()
			break
		}
		arn := h.groupARN(g.Name)
		out.LogGroups = append(out.LogGroups, describedGroup{
			Name: g.Name, Created: g.Created.UnixMilli(), RetentionDays: g.RetentionDays,
			ARN: arn + ":*", StoredBytes: g.StoredBytes, Class: "STANDARD", GroupARN: arn,
		})
	}
	return out, nil
}

type describeLogStreamsInput struct {
	groupRef
	LogStreamNamePrefix string `json:"logStreamNamePrefix"`
	OrderBy             string `json:"orderBy"`
	Descending          bool   `json:"descending"`
	NextToken           string `json:"nextToken"`
	Limit               *int   `json:"limit"`
}

type describedStream struct {
	Name          string `json:"logStreamName"`
	Created       int64  `json:"creationTime"`
	FirstEvent    int64  `json:"firstEventTimestamp"`
	LastEvent     int64  `json:"lastEventTimestamp"`
	LastIngestion int64  `json:"lastIngestionTime"`
	ARN           string `json:"arn"`
	StoredBytes   int64  `json:"storedBytes"` // AWS has reported 0 since 2019
}

type describeLogStreamsOutput struct {
	LogStreams []describedStream `json:"logStreams"`
	NextToken  string            `json:"nextToken,omitempty"`
}

func (h *Handler) describeLogStreams(ctx context.Context, in describeLogStreamsInput) (any, error) {
	group, err := in.name()
	if err != nil {
		return nil, err
	}
	limit, err := limited(in.Limit, maxDescribed)
	if err != nil {
		return nil, err
	}
	byTime := in.OrderBy == "LastEventTime"
	switch {
	case byTime && in.LogStreamNamePrefix != "":
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	case !byTime && in.OrderBy != "" && in.OrderBy != "LogStreamName":
		return nil, invalid("1 validation error detected: Value '%s' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: [LogStreamName, LastEventTime]", in.OrderBy)
	}
	streams, err := h.store.Streams(ctx, group, in.LogStreamNamePrefix)
	if err != nil {
		return nil, err
	}
	key := func(s Stream) after {
		if byTime {
			return after{s.LastEvent.UnixMilli(), s.Name}
		}
		return after{0, s.Name}
	}
	compare := func(a, b after) int {
		c := cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Name, b.Name))
		if in.Descending {
			return -c
		}
		return c
	}
	slices.SortFunc(streams, func(a, b Stream) int { return compare(key(a), key(b)) })
	if in.NextToken != "" {
		last, err := parseAfter(in.NextToken)
		if err != nil {
			return nil, err
		}
		streams = slices.DeleteFunc(streams, func(s Stream) bool { return compare(key(s), last) <= 0 })
	}
	out := describeLogStreamsOutput{LogStreams: []describedStream{}}
	if len(streams) > limit {
		streams = streams[:limit]
		out.NextToken = key(streams[limit-1]).token()
	}
	for _, s := range streams {
		out.LogStreams = append(out.LogStreams, describedStream{
			Name: s.Name, Created: s.Created.UnixMilli(),
			FirstEvent: s.FirstEvent.UnixMilli(), LastEvent: s.LastEvent.UnixMilli(), LastIngestion: s.LastIngestion.UnixMilli(),
			ARN: h.groupARN(group) + ":log-stream:" + s.Name,
		})
	}
	return out, nil
}

// retentionDays are those that AWS takes.
var retentionDays = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

type putRetentionPolicyInput struct {
	groupRef
	RetentionInDays int `json:"retentionInDays"`
}

func (h *Handler) putRetentionPolicy(ctx context.Context, in putRetentionPolicyInput) (any, error) {
	group, err := in.name()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(retentionDays, in.RetentionInDays) {
		return nil, invalid("1 validation error detected: Value '%d' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: %v", in.RetentionInDays, retentionDays)
	}
	return struct{}{}, h.store.SetRetention(ctx, group, in.RetentionInDays)
}

func (h *Handler) deleteRetentionPolicy(ctx context.Context, in groupRef) (any, error) {
	group, err := in.name()
	if err != nil {
		return nil, err
	}
	return struct{}{}, h.store.SetRetention(ctx, group, 0)
}

func (h *Handler) deleteLogGroup(ctx context.Context, in groupRef) (any, error) {
	group, err := in.name()
	if err != nil {
		return nil, err
	}
	return struct{}{}, h.store.DeleteGroup(ctx, group)
}
