"""Calls that hold a thread without saying anything are ended, and no caller holds more than a few at a time.

gRPC gives a call a thread before its message is there, and waits for the message as long as the caller likes; where no
certificate is asked for, that is anybody. How fast an upload must go on is for stream_watch.py to say.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a caller may hold.

    Attributes:
        wait_s: seconds within which the message of a call must be there.
        calls: calls at a time over one certificate, or from one address where there is none.
    """

    wait_s: float = 20.0
    calls: int = 8


class CallLimits(grpc.ServerInterceptor):
    """Holds every call of a server to its limits."""

    def __init__(self, limits: Limits) -> None:
        """Hold calls to `limits`."""
        self._limits = limits
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wrap a method; a single message is read as a stream of one, because only that wait can be ended."""
        handler = continuation(handler_call_details)
        if handler is None or handler.response_streaming:
            return handler
        behaviour = handler.stream_unary if handler.request_streaming else self._single(handler.unary_unary)

        def limited(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
            with self._place(context):
                return behaviour(messages, context)

        return grpc.stream_unary_rpc_method_handler(limited, handler.request_deserializer, handler.response_serializer)

    def _single(self, behaviour: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[..., Any]:
        def first(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
            end = threading.Timer(self._limits.wait_s, context.cancel)
            end.daemon = True
            end.start()
            try:
                message = next(messages, None)
            finally:
                end.cancel()
            if message is None:
                return context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call held no message")
            return behaviour(message, context)

        return first

    @contextmanager
    def _place(self, context: grpc.ServicerContext) -> Iterator[None]:
        caller = _caller(context)
        with self._lock:
            self._calls[caller] += 1
            too_many = self._calls[caller] > self._limits.calls
        try:
            if too_many:
                line = f"more than {self._limits.calls} calls at a time; wait until one of them is over"
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, line)
            yield
        finally:
            with self._lock:
                self._calls[caller] -= 1
                self._calls += Counter()  # forgets who has no call any more


def _caller(context: grpc.ServicerContext) -> str:
    """The certificate's common name, or the address without its port."""
    name = context.auth_context().get("x509_common_name")
    return bytes(name[0]).decode(errors="replace") if name else str(context.peer()).rpartition(":")[0]
