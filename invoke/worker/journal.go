package worker

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"kiln/lambda"
)

// LogSink takes the lines of function logs. It must not block for long and is
// safe for concurrent use.
type LogSink interface {
	Put(group, stream string, at time.Time, message string)
}

// journal writes one environment's log: the function's lines, and the
// platform's in the function's format. It keeps the tail of the invocation in
// progress. It is safe for concurrent use.
type journal struct {
	sink    LogSink
	logging lambda.Logging
	stream  string

	mu   sync.Mutex
	tail *tail // of the invocation in progress, if it asked for one
}

// report is what the platform says at the end of an invocation.
type report struct {
	requestID   string
	duration    time.Duration
	init        time.Duration // zero unless this was the environment's first invocation
	memoryMB    int
	maxMemoryMB int
	status      string // "success", "error", "failure" or "timeout"
	errorType   string
}

// function writes a line that the function printed. The runtimes' clients print
// an event of several lines with carriage returns between them, so that it stays
// one event.
func (j *journal) function(at time.Time, line string) {
	j.write(at, strings.ReplaceAll(strings.TrimSuffix(line, "\r"), "\r", "\n"))
}

func (j *journal) write(at time.Time, line string) {
	j.mu.Lock()
	if j.tail != nil {
		j.tail.add(line)
	}
	j.mu.Unlock()
	j.sink.Put(j.logging.Group, j.stream, at, line)
}

// platform writes one of the platform's lines: text as given, or the event of
// the JSON format. Events of the level DEBUG and INFO are left out when the
// function's system log level is higher.
func (j *journal) platform(text, event, level string, record map[string]any) {
	now := time.Now()
	if j.logging.Format != lambda.LogJSON {
		if text != "" {
			j.write(now, text)
		}
		return
	}
	if systemLevels[level] < systemLevels[j.logging.SystemLevel] {
		return
	}
	line, err := json.Marshal(struct {
		Time   string         `json:"time"`
		Type   string         `json:"type"`
		Record map[string]any `json:"record"`
	}{now.UTC().Format("2006-01-02T15:04:05.000Z"), "platform." + event, record})
	if err == nil {
		j.write(now, string(line))
	}
}

var systemLevels = map[string]int{"DEBUG": 1, "": 2, "INFO": 2, "WARN": 3}

func (j *journal) initStart(v *lambda.Version, runtimeVersion, runtimeARN string) {
	text := "INIT_START Runtime Version: " + runtimeVersion + "\tRuntime Version ARN: " + runtimeARN
	j.platform(text, "initStart", "INFO", map[string]any{
		"initializationType": "on-demand", "phase": "init", "functionName": v.Key.Name,
		"functionVersion": v.Key.Number, "runtimeVersion": runtimeVersion, "runtimeVersionArn": runtimeARN,
	})
}

// initReport ends an initialization; one that went well has no line in text,
// since its duration is part of the first REPORT.
func (j *journal) initReport(d time.Duration, f *fault) {
	record := map[string]any{"initializationType": "on-demand", "phase": "init", "status": "success",
		"metrics": map[string]any{"durationMs": millis(d)}}
	text, level := "", "INFO"
	if f != nil {
		record["status"], level = f.status, "WARN"
		text = fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: init\tStatus: %s", millis(d), f.reportStatus())
		if f.status != statusTimeout {
			record["errorType"] = f.kind
			text += "\tError Type: " + f.kind
		}
	}
	j.platform(text, "initReport", level, record)
}

func (j *journal) start(requestID, version string) {
	j.platform("START RequestId: "+requestID+" Version: "+version, "start", "INFO",
		map[string]any{"requestId": requestID, "version": version})
}

func (j *journal) report(r report) {
	status := map[string]any{"requestId": r.requestID, "status": r.status}
	if r.errorType != "" {
		status["errorType"] = r.errorType
	}
	j.platform("END RequestId: "+r.requestID, "runtimeDone", "DEBUG", status)

	billed := max(int64(math.Ceil(millis(r.duration+r.init))), 1)
	metrics := map[string]any{"durationMs": millis(r.duration), "billedDurationMs": billed,
		"memorySizeMB": r.memoryMB, "maxMemoryUsedMB": r.maxMemoryMB}
	var b strings.Builder
	fmt.Fprintf(&b, "REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB\t",
		r.requestID, millis(r.duration), billed, r.memoryMB, r.maxMemoryMB)
	if r.init > 0 {
		metrics["initDurationMs"] = millis(r.init)
		fmt.Fprintf(&b, "Init Duration: %.2f ms\t", millis(r.init))
	}
	record := map[string]any{"requestId": r.requestID, "metrics": metrics, "status": r.status}
	switch r.status {
	case statusTimeout:
		b.WriteString("Status: timeout\t")
	case statusFailure:
		record["errorType"] = r.errorType
		fmt.Fprintf(&b, "Status: error\tError Type: %s\t", r.errorType)
	case statusError:
		record["errorType"] = r.errorType
	}
	j.platform(b.String(), "report", "INFO", record)
}

func millis(d time.Duration) float64 {
	return math.Round(float64(d.Microseconds())/10) / 100
}

// beginTail makes the journal keep the last lines from now on if wanted.
func (j *journal) beginTail(wanted bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tail = nil
	if wanted {
		j.tail = &tail{}
	}
}

// endTail returns what has been kept.
func (j *journal) endTail() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.tail
	j.tail = nil
	if t == nil {
		return nil
	}
	return t.bytes()
}

// tail keeps the last lambda.MaxLogTailBytes of a log.
type tail struct{ b []byte }

func (t *tail) add(line string) {
	t.b = append(append(t.b, line...), '\n')
	if len(t.b) > 4*lambda.MaxLogTailBytes {
		t.b = append(t.b[:0], t.bytes()...)
	}
}

func (t *tail) bytes() []byte {
	return t.b[max(0, len(t.b)-lambda.MaxLogTailBytes):]
}
