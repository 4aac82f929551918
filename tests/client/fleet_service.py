"""A coordinator's fleet port for tests: real TLS and HTTP; it refuses every path, and its clock may be off."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from client.samples import Authority


@contextmanager
def fleet_port(authority: Authority, clock_off_s: float = 0.0) -> Iterator[str]:
    """Serve and give the address; `clock_off_s` is how far the coordinator's clock is ahead of this machine's."""

    class Gate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + clock_off_s)

        def log_message(self, *_: object) -> None:
            return

    with TemporaryDirectory() as folder:
        key, certificate = authority.server()
        pem = Path(folder) / "server.pem"
        pem.write_bytes(key + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
