"""The handler behind the least that still is an HTTP server: the floor that
invocations are compared with.

One connection at a time, its requests one after the other, headers read only
as far as they are needed. The standard library's http.server takes several
times as long and would flatter whatever is compared with it.
"""

import json
import os
import socket
import time
import uuid

from app import handler


class Context:
    def __init__(self):
        self.aws_request_id = str(uuid.uuid4())
        self.deadline = time.time() + 30

    def get_remaining_time_in_millis(self):
        return int((self.deadline - time.time()) * 1000)


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as requests:
        while requests.readline():
            length = 0
            while (line := requests.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            event = json.loads(requests.read(length))
            body = json.dumps(handler(event, Context())).encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )


def main():
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
        while True:
            connection, _ = server.accept()
            serve(connection)


main()
