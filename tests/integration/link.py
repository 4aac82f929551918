"""A network link for tests: a TCP proxy on loopback that can be cut, stalled, and entered from another address."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Self

_BLOCK = 1 << 16  # bytes
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, as a broken line looks


class Link:
    """Carries connections to a port on loopback.

    Args:
        port: where they go.

    Attributes:
        source: the address that the far end sees; a change holds for connections made from then on.
        sources: every address that was used.
        carried: bytes towards the far end so far.
        stalled: set while a `stall_after` that came true was not followed by another.
    """

    def __init__(self, port: int) -> None:
        self.source = "127.0.0.1"
        self.sources: set[str] = set()
        self.carried = 0
        self._target = port
        self.stalled = threading.Event()
        self._stall_at: int | None = None
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """host:port to connect to."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        self._listener.close()
        self.cut()

    def stall_after(self, count: int) -> None:
        """Stall, once, when this many more bytes have been carried."""
        self.stalled.clear()
        self._stall_at = self.carried + count

    def stall(self) -> None:
        """Carry nothing more towards the far end until `flow`."""
        self._open.clear()

    def flow(self) -> None:
        """Carry again."""
        self._open.set()

    def cut(self) -> None:
        """Break every connection now; new ones are carried."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for one in (end for pair in pairs for end in pair):
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.shutdown(socket.SHUT_RDWR)  # wakes the threads that read from it
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), source_address=(self.source, 0))
            except OSError:  # nobody listens there at this moment
                near.close()
                continue
            self.sources.add(self.source)
            with self._lock:
                self._pairs.append((near, far))
            threading.Thread(target=self._carry, args=(near, far), kwargs={"counted": True}, daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near), kwargs={"counted": False}, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_BLOCK):
                if counted:
                    self._open.wait()
                sink.sendall(data)
                if counted:
                    self._count(len(data))
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _count(self, size: int) -> None:
        self.carried += size
        if self._stall_at is not None and self.carried >= self._stall_at:
            self._stall_at = None
            self.stall()
            self.stalled.set()
