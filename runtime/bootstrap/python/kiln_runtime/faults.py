"""Failures that the runtime itself reports, and the bodies of error reports."""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_BOOTSTRAP = os.path.join(os.path.dirname(_HERE), "bootstrap.py")


class Fault(Exception):
    """A failure with an errorType of its own, such as Runtime.ImportModuleError."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = "Runtime." + kind
        self.message = message
        self.trace = trace


def report(message, kind, trace, request_id=""):
    """The body of an error report, as a dictionary."""
    return {
        "errorMessage": message or "",
        "errorType": kind or "",
        "requestId": request_id,
        "stackTrace": trace or [],
    }


def report_current(request_id=""):
    """The report of the exception being handled, without the runtime's own frames."""
    import traceback

    kind, value, tb = sys.exc_info()
    if isinstance(value, Fault):
        return report(value.message, value.kind, value.trace, request_id)
    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(tb)]
    for i, frame in enumerate(frames):
        if not frame[0].startswith(_HERE) and frame[0] != _BOOTSTRAP:
            frames = frames[i:]
            break
    return report(str(value), kind.__name__, traceback.format_list(frames), request_id)
