"""Two small servers on loopback that notices are sent to: one takes e-mails (RFC 5321), the other HTTP POSTs."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class MailServer:
    """Takes e-mails.

    Attributes:
        port: where it listens.
        mails: sender, recipients and text of each that came.
        refusing: whether it answers that it is busy.
    """

    port: int = 0
    mails: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    refusing: bool = False


@dataclass
class WebServer:
    """Takes POSTs.

    Attributes:
        port: where it listens.
        posts: path, headers (names in lower case) and body of each that came.
        status: what it answers.
    """

    port: int = 0
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 204


@contextmanager
def taking_mails() -> Iterator[MailServer]:
    """A mail server that runs for the block."""
    made = MailServer()

    class Talk(socketserver.StreamRequestHandler):
        """One client's connection."""

        def handle(self) -> None:
            self._say("220 ready")
            sender, recipients = "", list[str]()
            while line := self.rfile.readline().strip().decode():
                verb = line[:4].upper()
                if verb == "MAIL":
                    sender, recipients = line[10:].split(">")[0].strip("<"), []
                    self._say("451 busy, come back" if made.refusing else "250 ok")
                elif verb == "RCPT":
                    recipients.append(line[8:].strip("<>"))
                    self._say("250 ok")
                elif verb == "DATA":
                    self._say("354 go on")
                    made.mails.append((sender, recipients, self._text()))
                    self._say("250 kept")
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _text(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            return b"".join(lines)

        def _say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        made.port = server.server_address[1]
        with _running(server):
            yield made


@contextmanager
def taking_posts() -> Iterator[WebServer]:
    """An HTTP server that runs for the block."""
    made = WebServer()

    class Answer(BaseHTTPRequestHandler):
        """One request."""

        def do_POST(self) -> None:  # the base class finds it by this name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if made.status < 300:  # HTTP's own bound
                made.posts.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        made.port = server.server_address[1]
        with _running(server):
            yield made


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
