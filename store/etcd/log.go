package etcd

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap/zapcore"
)

// core passes etcd's log entries on to slog. Only warnings and worse are worth
// an operator's attention; etcd reports the normal course of things as info.
type core struct {
	logger *slog.Logger
	fields []zapcore.Field
}

var _ zapcore.Core = (*core)(nil)

func newCore(logger *slog.Logger) *core {
	return &core{logger: logger.With("component", "etcd")}
}

// expected are warnings about what is so by design, or about a new member's
// first moments, which etcd tries again by itself.
var expected = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true,
	"Failed to detect schema version":                                                      true,
	"failed to update storage version":                                                     true,
}

// campaigned is what a new member says when an election is due before it has
// applied its own membership, as happens on a busy machine.
const campaigned = "cannot campaign at term 1 since there are still pending configuration changes to apply"

// Enabled implements zapcore.LevelEnabler.
func (c *core) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{logger: c.logger, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !expected[e.Message] && !strings.HasSuffix(e.Message, campaigned) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range c.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	c.logger.LogAttrs(context.Background(), level, e.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (c *core) Sync() error { return nil }
