"""Logging as functions find it set up: one handler on the root logger, which
writes text or, with AWS_LAMBDA_LOG_FORMAT=JSON, one JSON object a record."""

import json
import logging
import os
import sys
import time

# A log event is one line of output: line breaks inside it become carriage
# returns, as the platform expects of what arrives on standard output.
LINE_BREAK = "\r"
NO_BREAK_SPACE = "\u00a0"

JSON = (os.environ.get("AWS_LAMBDA_LOG_FORMAT") or "").upper() == "JSON"

# What a LogRecord always has; everything else came from "extra".
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "aws_request_id", "tenant_id", "message", "asctime",
}

request_id = ""
tenant_id = None


class _Handler(logging.Handler):
    def emit(self, record):
        sys.stdout.write(self.format(record).replace("\n", LINE_BREAK) + "\n")


class _Filter(logging.Filter):
    def filter(self, record):
        record.aws_request_id = request_id
        record.tenant_id = tenant_id
        return True


class _JSONFormatter(logging.Formatter):
    def format(self, record):
        level = min(50, max(0, record.levelno)) // 10 * 10
        fields = {
            "timestamp": "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)),
                                       record.msecs),
            "level": logging.getLevelName(level),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            import traceback
            kind, value, tb = record.exc_info
            fields["stackTrace"] = traceback.format_tb(tb)
            fields["errorType"] = kind.__name__ if kind else None
            fields["errorMessage"] = str(value)
        fields["requestId"] = record.aws_request_id
        if record.exc_info:
            fields["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
        fields["tenantId"] = record.tenant_id
        for name, value in record.__dict__.items():
            if name not in _STANDARD and name not in fields:
                fields[name] = value
        shown = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(shown, ensure_ascii=False, default=str)


def setup():
    """Configures the root logger. Called once, before the function is imported."""
    for stream in (sys.stdout, sys.stderr):
        # A whole line leaves in one write; what ends without a line break is
        # flushed at the end of the invocation.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    logging.Formatter.converter = time.gmtime
    handler = _Handler()
    if JSON:
        handler.setFormatter(_JSONFormatter())
    else:
        handler.setFormatter(logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(_Filter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = (os.environ.get("AWS_LAMBDA_LOG_LEVEL") or "").upper()
    level = "DEBUG" if level == "TRACE" else level
    if level in ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"):
        root.setLevel(level)


def log_error(report):
    """Logs an error report (see faults.report) as one event."""
    if JSON:
        entry = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), "level": "ERROR", **report}
        sys.stdout.write(json.dumps(entry) + "\n")
        return
    first = "[ERROR]"
    if report["errorType"]:
        first += " " + report["errorType"]
        if report["errorMessage"]:
            first += ":"
    if report["errorMessage"]:
        first += " " + report["errorMessage"]
    lines = first.split("\n") + ["Traceback (most recent call last):"]
    for entry in report["stackTrace"]:
        for line in entry.splitlines() or [""]:
            text = line.lstrip(" ")
            # Leading blanks would be lost on the way to a log viewer.
            lines.append(NO_BREAK_SPACE * (len(line) - len(text)) + text)
    sys.stdout.write(LINE_BREAK.join(lines) + "\n")


def flush():
    """Writes out what a function printed without a line break."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # the function closed or replaced it
