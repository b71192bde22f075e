"""JSON as handlers' results become it: json's rules, decimal.Decimal as a number and
bytes as text."""

import json
import re
import sys

from .faults import Fault

# Newer runtimes send text as it is, older ones escape what is not ASCII.
_ENSURE_ASCII = sys.version_info < (3, 12)


class _Encoder(json.JSONEncoder):
    """json has no way to emit a number's own digits, so a Decimal becomes a marked
    string first. The mark is random: no result can contain it by accident or intent."""

    def __init__(self):
        super().__init__(ensure_ascii=_ENSURE_ASCII)
        self.mark = None

    def default(self, o):
        if isinstance(o, bytes):
            return o.decode()
        decimal = sys.modules.get("decimal")
        if decimal is None or not isinstance(o, decimal.Decimal):
            return super().default(o)
        if o.is_nan():
            return float("nan")
        if self.mark is None:
            import os
            self.mark = os.urandom(16).hex()
        return self.mark + str(o)

    def encode(self, o):
        text = super().encode(o)
        if self.mark is not None:
            text = re.sub('"%s([^"]*)"' % self.mark, r"\1", text)
        return text


_PLAIN = _Encoder()


def to_json(value):
    """Encodes value; raises what json does."""
    if "decimal" in sys.modules:
        return _Encoder().encode(value)
    return _PLAIN.encode(value)


def marshal(result):
    """A handler's result as bytes and their content type."""
    if isinstance(result, bytes):
        return result, "application/unknown"
    try:
        return to_json(result).encode(), "application/json"
    except Exception as e:
        raise Fault("MarshalError", "Unable to marshal response: %s" % e)


def marshal_report(report):
    """An error report as bytes. Text that is no Unicode must not keep it from being sent."""
    return json.dumps(report, ensure_ascii=_ENSURE_ASCII).encode("utf-8", "backslashreplace")


def unmarshal(body, content_type):
    """The event for the handler."""
    if content_type != "application/json":
        return body
    try:
        return json.loads(body)
    except Exception as e:
        raise Fault("UnmarshalError", "Unable to unmarshal input: %s" % e)


def parse_header(text, name):
    """A header's JSON, or None without the header."""
    if not text:
        return None
    try:
        return json.loads(text)
    except Exception as e:
        raise Fault("LambdaContextUnmarshalError", "Unable to parse %s JSON: %s" % (name, e))
