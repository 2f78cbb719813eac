"""A raw HTTP client: it sends whatever it is given, and keeps its connection as long as the other side does."""

import http.client
import json
import socket

TIMEOUT = 20


class Reply:
    """An answer, and its head as it came."""

    def __init__(self, answer):
        self.status = answer.status
        self.head = str(answer.headers)
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()
        self.will_close = answer.will_close

    def json(self):
        return json.loads(self.body)

    def text(self):
        return f"{self.head}\n{self.body.decode(errors='replace')}"


class Client:
    """One connection, from an address of this machine."""

    def __init__(self, port, source="127.0.0.1"):
        self.port, self.source = port, source
        self.connection = None

    def send(self, method, target, headers, body=b""):
        """Header values are text; bytes that are none are written as surrogates."""
        lines = [f"{method} {target} HTTP/1.1", "host: gateway", f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers)]
        message = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body
        try:
            return self.exchange(message, method)
        except (ConnectionError, http.client.RemoteDisconnected):
            # The one before it was closed from the other side.
            return self.exchange(message, method)

    def exchange(self, message, method):
        if not self.connection:
            self.connection = socket.create_connection(("127.0.0.1", self.port), TIMEOUT, (self.source, 0))
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.connection.sendall(message)
            answer = http.client.HTTPResponse(self.connection, method=method)
            answer.begin()
            reply = Reply(answer)
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if reply.will_close or reply.status == 101:
            self.close()
        return reply

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None
