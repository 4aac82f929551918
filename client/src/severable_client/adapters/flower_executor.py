"""Runs the installed ClientApp for the SuperNode's tasks, and no other code.

    python -P -m severable_client.adapters.flower_executor --home HOME --runtime 127.0.0.1:9094 --secret FILE

Flower's own executor unpacks the bundle that the SuperLink serves, puts it first on sys.path and imports it. This one
takes its place (`flower-supernode --isolation process`): the bundle is hashed, never unpacked or imported, and the
message is handed to the installed app only if an active contract names that hash. The list is read again at every
message, and an empty list refuses everything.

The one file of this package that touches flwr internals; tests/client/test_flower_internals.py fails when they move.
"""

import argparse
import hashlib
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import httpx
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectPushError
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from severable_client import bootstrap
from severable_client.adapters.flower_app import make_app

ACQUIRE_TASK = "/flwr.proto.Runtime/AcquireTask"
POLL_S = 1.0
_RETRY_S = 1.0

Allowed = Callable[[], frozenset[str]]

_log = logging.getLogger(__name__)


class Executor:
    """Takes tasks from one SuperNode and answers them with one app; a context manager.

    Args:
        address: The SuperNode's runtime API, "127.0.0.1:port"; plain HTTP, so loopback only.
        secret: What the SuperNode wants to see from whoever takes its tasks.
        allowed: Returns the SHA-256 (hex) of the bundles that active contracts name, now.
        app: The installed app.
    """

    def __init__(self, address: str, secret: bytes, allowed: Allowed, app: ClientApp) -> None:
        self._address = address
        self._allowed = allowed
        self._app = app
        self._tasks = self._open(
            RuntimeVersionHttpInterceptor(component_name="SuperExec"),
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=frozenset({ACQUIRE_TASK})),
        )

    def _open(self, *interceptors: ProtobufClientInterceptor) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            self._address,
            insecure=True,
            root_certificates=None,
            interceptors=interceptors,
        )

    def __enter__(self) -> Self:
        """Use the executor; its connection is open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection to the SuperNode."""
        self._tasks.close()

    def take(self) -> str:
        """Take the next task and return its token, "" when there is none."""
        wanted = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        return self._tasks.AcquireTask(wanted).token

    def answer(self, token: str) -> None:
        """Answer the task that the token stands for; whatever goes wrong in the app is reported back."""
        # No heartbeat: an answer takes far less than the half minute after which Flower misses one.
        with self._open(
            RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"),
            RuntimeTokenHttpInterceptor(token),
        ) as runtime:
            message, context, _, bundle = pull_task_input(runtime)
            reply, trouble = self._reply(message, context, bundle.content)
            push_message(runtime, reply, context)
            push_task_output(runtime, context, SubStatus.FAILED if trouble else SubStatus.COMPLETED, trouble)

    def _reply(self, message: Message, context: Context, bundle: bytes) -> tuple[Message, str]:
        """Return the reply and, when it is an error, the reason."""
        digest = hashlib.sha256(bundle).hexdigest()
        try:
            if digest not in self._allowed():
                return _refuse(message, ErrorCode.INVALID_FAB, f"app bundle sha256:{digest} is in no active contract")
            return self._app(message=message, context=context), ""
        except Exception as error:  # noqa: BLE001 - the edge of the process: reported back, and the next task is served
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return _refuse(message, ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason)


def _refuse(message: Message, code: int, reason: str) -> tuple[Message, str]:
    _log.warning("refused a message: %s", reason)
    return Message(Error(code=code, reason=reason), reply_to=message), reason


def serve(executor: Executor, sleep: Callable[[float], None] = time.sleep) -> None:
    """Serve tasks until the process is ended; outlives restarts of the SuperNode.

    Raises:
        PermissionError: the SuperNode does not accept the secret.
    """
    while True:
        try:
            token = executor.take()
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.UNAUTHORIZED:
                raise PermissionError("the SuperNode refuses the executor's secret; both must use one file") from error
            _log.warning("SuperNode answered HTTP %d; trying again", error.response.status_code)
            sleep(_RETRY_S)
            continue
        except httpx.TransportError:
            sleep(_RETRY_S)  # the SuperNode is not up yet, or again
            continue
        if token:
            _answer(executor, token)
        sleep(POLL_S)


def _answer(executor: Executor, token: str) -> None:
    """Answer one task; a task that was stopped or lost on the way is no reason to end, the coordinator asks again."""
    try:
        executor.answer(token)
    except (httpx.HTTPError, ObjectPullError, ObjectPushError, RuntimeError, ValueError) as error:
        _log.warning("could not answer a task: %s: %s", type(error).__name__, error)


def main(arguments: Sequence[str] | None = None) -> None:
    """Wire the installed desk and list of bundles to the SuperNode and serve."""
    parser = argparse.ArgumentParser(prog="flower_executor", description="Local executor of the installed ClientApp.")
    parser.add_argument("--home", type=Path, required=True, help="the client's home directory")
    parser.add_argument("--runtime", required=True, help="the SuperNode's runtime API, host:port on loopback")
    parser.add_argument("--secret", type=Path, required=True, help="file with the secret that the SuperNode knows")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    app = make_app(bootstrap.job_desk(args.home))
    allowed = bootstrap.allowed_bundles(args.home)
    try:
        with Executor(args.runtime, args.secret.read_bytes(), allowed, app) as executor:
            serve(executor)
    except PermissionError as error:
        sys.exit(f"flower_executor: {error}")


if __name__ == "__main__":
    main()
