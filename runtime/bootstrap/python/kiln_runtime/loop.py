"""The runtime's life: load the function, then serve one event after the other."""

import os
import sys

from . import faults, loader, logs, marshal
from .client import RuntimeClient
from .context import LambdaContext


class Invocation:
    """One event: its headers and body, and what its result must echo."""

    __slots__ = ["id", "echo", "headers", "body"]

    def __init__(self, headers, body):
        self.headers = headers
        self.body = body
        self.id = headers.get("lambda-runtime-aws-request-id", "")
        # Names this attempt; the API refuses a result that echoes another's.
        attempt = headers.get("lambda-runtime-invocation-id")
        self.echo = "Lambda-Runtime-Invocation-Id: %s\r\n" % attempt if attempt else ""

    def enter(self):
        """Makes this the invocation that log lines and tracing tools see."""
        logs.request_id = self.id
        logs.tenant_id = self.headers.get("lambda-runtime-aws-tenant-id")
        trace = self.headers.get("lambda-runtime-trace-id")
        if trace is not None:
            os.environ["_X_AMZN_TRACE_ID"] = trace
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)

    def context(self):
        get = self.headers.get
        return LambdaContext(
            self.id,
            marshal.parse_header(get("lambda-runtime-client-context"), "Client Context"),
            marshal.parse_header(get("lambda-runtime-cognito-identity"), "Cognito Identity"),
            int(get("lambda-runtime-deadline-ms") or 0),
            get("lambda-runtime-invoked-function-arn"),
            get("lambda-runtime-aws-tenant-id"),
        )


def run():
    """Never returns: the process ends by a failure, or is ended."""
    socket_path = os.environ.pop("_KILN_RUNTIME_SOCKET", None)
    client = RuntimeClient(os.environ.get("AWS_LAMBDA_RUNTIME_API"), socket_path)
    logs.setup()
    try:
        handler = loader.load(os.environ.get("_HANDLER", ""))
    except Exception:
        report = faults.report_current()
        logs.log_error(report)
        logs.flush()
        client.init_error(report["errorType"], marshal.marshal_report(report))
        sys.exit(1)

    invocation = Invocation(*client.next())
    while True:
        invocation.enter()
        try:
            # The context comes first, as a bad header is the caller's mistake
            # whatever the event is.
            context = invocation.context()
            event = marshal.unmarshal(invocation.body, invocation.headers.get("content-type", "application/json"))
            body, content_type = marshal.marshal(handler(event, context))
        except Exception:
            report = faults.report_current(invocation.id)
            logs.log_error(report)
            logs.flush()
            following = client.error_and_next(invocation, report["errorType"], marshal.marshal_report(report))
        else:
            logs.flush()
            following = client.respond_and_next(invocation, body, content_type)
        event = context = body = None  # not held while waiting
        invocation = Invocation(*following)
