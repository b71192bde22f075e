"""A client of the Runtime API on one kept-alive connection.

http.client would parse every answer with the email package, which costs more
than the rest of an invocation's overhead together; the few shapes of answer
that this API has need little.
"""

import _socket

BASE = "/2018-06-01/runtime"
MAX_RECONNECTS = 3
_RECEIVE = 1 << 16


class RuntimeClient:
    """Not safe for use by several threads."""

    def __init__(self, api, socket_path=None):
        """api is "host:port"; a unix socket of the same API is preferred when given."""
        self._host = api or "localhost"
        self._socket_path = socket_path
        self._socket = None
        self._buffer = b""
        common = " HTTP/1.1\r\nHost: %s\r\n" % self._host
        self._next = ("GET %s/invocation/next%s\r\n" % (BASE, common)).encode()
        self._post = "POST " + BASE + "%s" + common + "Content-Type: %s\r\n%sContent-Length: %d\r\n\r\n"

    def next(self):
        """Waits for the next event. Returns its headers, in lower case, and its body."""
        return self._event(self._call([self._next])[0])

    def respond_and_next(self, invocation, body, content_type="application/json"):
        """Reports a result and waits for the next event: one write, two answers."""
        return self._report_and_next("/invocation/%s/response" % invocation.id, body, content_type, invocation.echo)

    def error_and_next(self, invocation, error_type, body):
        """Reports an error and waits for the next event."""
        path = "/invocation/%s/error" % invocation.id
        return self._report_and_next(path, body, "application/json", invocation.echo + _error_header(error_type))

    def init_error(self, error_type, body):
        """Reports that the function could not be loaded."""
        self._call([self._request("/init/error", body, "application/json", _error_header(error_type))])

    def _report_and_next(self, path, body, content_type, extra):
        # The answer to the report has nothing that the runtime could act on.
        request = self._request(path, body, content_type, extra)
        return self._event(self._call([request, self._next])[1])

    def _request(self, path, body, content_type, extra):
        return (self._post % (path, content_type, extra, len(body))).encode() + body

    def _event(self, answer):
        status, headers, body = answer
        if status != 200:
            raise RuntimeError("the Runtime API answered %d to the poll for the next event" % status)
        return headers, body

    def _call(self, requests):
        """Sends the requests in one write and returns their answers.

        The connection may break while the process is frozen or restored from a
        snapshot. What had no answer is then sent again on a new one; the API
        refuses the second copy of a result it has seen.
        """
        answers = []
        failures = 0
        while True:
            try:
                if self._socket is None:
                    self._connect()
                self._socket.sendall(b"".join(requests[len(answers):]))
                while len(answers) < len(requests):
                    answers.append(self._read())
                return answers
            except OSError:
                self._disconnect()
                failures += 1
                if failures > MAX_RECONNECTS:
                    raise

    def _connect(self):
        # _socket is what the socket module wraps; importing that one costs
        # milliseconds of a cold start.
        if self._socket_path:
            self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            self._socket.connect(self._socket_path)
            return
        host, port = self._host.rsplit(":", 1)
        # As bytes, since text would load the codec for international names.
        found = _socket.getaddrinfo(host.encode(), int(port), 0, _socket.SOCK_STREAM)
        family, kind, proto, _, address = found[0]
        self._socket = _socket.socket(family, kind, proto)
        self._socket.connect(address)
        self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)

    def _disconnect(self):
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer = b""

    def _fill(self):
        data = self._socket.recv(_RECEIVE)
        if not data:
            raise ConnectionResetError("the Runtime API closed the connection")
        self._buffer = self._buffer + data if self._buffer else data

    def _read(self):
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            self._fill()
        lines = self._buffer[:end].decode("utf-8", "replace").split("\r\n")
        self._buffer = self._buffer[end + 4:]
        status = int(lines[0][9:12])
        if 100 <= status < 200:
            return self._read()
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if "transfer-encoding" in headers:
            body = self._read_chunks()
        elif status in (204, 304):
            body = b""
        else:
            body = self._take(int(headers.get("content-length", 0)))
        return status, headers, body

    def _take(self, size):
        buffer = self._buffer
        if len(buffer) >= size:
            self._buffer = buffer[size:]
            return buffer[:size]
        # A large body: received in place, without joining pieces again and again.
        body = bytearray(size)
        body[:len(buffer)] = buffer
        self._buffer = b""
        view, have = memoryview(body), len(buffer)
        while have < size:
            received = self._socket.recv_into(view[have:])
            if received == 0:
                raise ConnectionResetError("the Runtime API closed the connection")
            have += received
        return bytes(body)

    def _read_chunks(self):
        parts = []
        while True:
            while b"\r\n" not in self._buffer:
                self._fill()
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            data = self._take(size + 2)
            if size == 0:
                return b"".join(parts)
            parts.append(data[:-2])


def _error_header(error_type):
    # Header values cannot hold arbitrary text.
    text = "".join(c if " " <= c <= "~" else "?" for c in error_type)
    return "Lambda-Runtime-Function-Error-Type: %s\r\n" % text
