"""The executor against SuperNode's real runtime API on loopback, fed as SuperNode feeds it; no SuperLink needed."""

import hashlib
import io
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from client.samples import Federation, make_home
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.start_client_internal import _pull_and_store_message

from severable_client.adapters.flower_app import make_app
from severable_client.adapters.flower_executor import Executor, serve
from severable_client.ports import JobReport, JobRequest, JobState

SECRET = b"sixteen bytes or more"
NODE, RUN = 5, 7
FIELDS: dict[str, Any] = {
    "task": "t-1",
    "nonce": "3" * 64,
    "contract": "sha256:" + "1" * 64,
    "recipe": "sha256:" + "2" * 64,
}
PROJECT = """
[project]
name = "a"
version = "1"
[tool.flwr.app]
publisher = "p"
[tool.flwr.app.components]
serverapp = "server_app:app"
clientapp = "client_app:app"
"""


def bundle(code: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("pyproject.toml", PROJECT)
        archive.writestr("client_app.py", code)
    return made.getvalue()


AGREED = bundle()
DIGEST = hashlib.sha256(AGREED).hexdigest()


@dataclass
class Node:
    """SuperNode's state and runtime API, without its connection to a SuperLink."""

    states: NodeStateFactory
    address: str

    def receive(self, fields: dict[str, str], app: bytes = AGREED) -> None:
        """Let a message in, as SuperNode does it."""
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN, 1
        message = Message(RecordDict({"job": ConfigRecord(dict(fields))}), NODE, MessageType.TRAIN, ttl=60.0)
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
        tree = get_object_tree(message)
        fab = Fab(hashlib.sha256(app).hexdigest(), app, {})
        _pull_and_store_message(
            state=self.states.state(),
            object_store=self.states.objectstore_factory.store(),
            node_config={},
            receive=lambda: (message, tree),
            get_run=lambda _: _run(fab.hash_str),
            get_fab=lambda *_: fab,
            pull_object=lambda _, name: objects[name],
            confirm_message_received=lambda *_: None,
            trusted_entities=None,
        )

    def replies(self) -> list[Message]:
        return list(self.states.state().get_messages_legacy(is_reply=True))


def _run(fab_hash: str) -> Run:
    run = Run.create_empty(RUN)
    run.fab_id, run.fab_version, run.fab_hash = "p/a", "1", fab_hash
    run.primary_task_type = TaskType.SERVER_APP
    return run


@pytest.fixture
def node() -> Iterator[Node]:
    states = NodeStateFactory(objectstore_factory=ObjectStoreFactory())
    states.state().set_node_id(NODE)
    app = create_app(state_factory=states, superexec_auth_secret=SECRET)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Node(states, f"127.0.0.1:{port}")
    server.should_exit = True
    thread.join()


def never(_: JobRequest) -> JobReport:
    pytest.fail("the desk was asked")


def answer_one(node: Node, allowed: frozenset[str], desk: Callable[[JobRequest], JobReport] = never) -> Message:
    """Let an executor answer the waiting message, and take what it stored."""
    with Executor(node.address, SECRET, lambda: allowed, make_app(desk)) as executor:
        executor.answer(executor.take())
    (reply,) = node.replies()
    return reply


def test_a_request_under_an_agreed_bundle_reaches_the_desk(node: Node) -> None:
    asked: list[JobRequest] = []

    def desk(request: JobRequest) -> JobReport:
        asked.append(request)
        return JobReport(state=JobState.TRAINING, step=3, steps=10, detail="going well")

    node.receive(FIELDS)
    reply = answer_one(node, frozenset({DIGEST}), desk)
    assert not reply.has_error()
    assert asked == [JobRequest(**FIELDS)]


def test_a_bundle_that_no_contract_names_is_refused(node: Node) -> None:
    other = bundle("raise SystemExit")
    node.receive(FIELDS, other)
    error = answer_one(node, frozenset({DIGEST})).error
    assert error.code == ErrorCode.INVALID_FAB
    assert hashlib.sha256(other).hexdigest() in (error.reason or "")


MARKING = ("client_app.py", "sitecustomize.py", "usercustomize.py", "json.py", "severable_client/__init__.py", "a.pth")


def marking_bundle(mark: Path) -> bytes:
    """A bundle whose every module would leave a mark if a line of it were run, under names that others import."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("pyproject.toml", PROJECT)
        for name in MARKING:
            archive.writestr(name, f"import pathlib; pathlib.Path({str(mark)!r}).write_text({name!r})\n")
    return made.getvalue()


@pytest.mark.integration
def test_no_line_of_a_foreign_bundle_runs_in_the_executor_of_a_home(
    node: Node, federation: Federation, tmp_path: Path
) -> None:
    mark, secret, home = tmp_path / "mark", tmp_path / "secret", make_home(federation, tmp_path)
    secret.write_bytes(SECRET)
    foreign = marking_bundle(mark)
    node.receive(FIELDS, foreign)
    command = [sys.executable, "-P", "-m", "severable_client.adapters.flower_executor"]
    command += ["--home", str(home), "--runtime", node.address, "--secret", str(secret)]
    with subprocess.Popen(command, cwd=tmp_path) as executor:
        try:
            deadline = time.monotonic() + 300  # on a busy machine; a quiet one needs seconds
            while not (replies := node.replies()):
                assert time.monotonic() < deadline, "no answer came"
                time.sleep(0.1)
        finally:
            executor.terminate()
    assert replies[0].error.code == ErrorCode.INVALID_FAB
    assert hashlib.sha256(foreign).hexdigest() in (replies[0].error.reason or "")
    assert not mark.exists()
    unpacked = [path for name in MARKING[1:] for path in tmp_path.rglob(Path(name).name)]
    assert unpacked == []


def test_an_empty_list_of_bundles_refuses_everything(node: Node) -> None:
    node.receive(FIELDS)
    assert answer_one(node, frozenset()).error.code == ErrorCode.INVALID_FAB


def test_the_list_of_bundles_is_read_again_at_every_message(node: Node) -> None:
    lists = iter([frozenset[str](), frozenset({DIGEST})])
    app = make_app(lambda _: JobReport(state=JobState.QUEUED))
    with Executor(node.address, SECRET, lambda: next(lists), app) as executor:
        outcomes = []
        for task in ("t-1", "t-2"):
            node.receive({**FIELDS, "task": task})
            executor.answer(executor.take())
            outcomes += [reply.has_error() for reply in node.replies()]
    assert outcomes == [True, False]


def test_what_the_app_raises_is_reported_back_in_one_line(node: Node) -> None:
    def broken(_: JobRequest) -> JobReport:
        raise OSError("disk\nfull")

    node.receive(FIELDS)
    error = answer_one(node, frozenset({DIGEST}), broken).error
    assert error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert error.reason == "OSError: disk full"


def test_without_a_message_there_is_no_task(node: Node) -> None:
    with Executor(node.address, SECRET, frozenset, make_app(never)) as executor:
        assert executor.take() == ""


def test_another_secret_ends_the_executor_with_a_clear_error(node: Node) -> None:
    node.receive(FIELDS)
    with (
        Executor(node.address, b"another secret of bytes", frozenset, make_app(never)) as stranger,
        pytest.raises(PermissionError, match="must use one file"),
    ):
        serve(stranger)


def test_the_executor_waits_for_a_supernode_that_is_not_up_yet() -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise InterruptedError

    with (
        Executor("127.0.0.1:1", SECRET, frozenset, make_app(never)) as executor,
        pytest.raises(InterruptedError),
    ):
        serve(executor, sleep)
    assert len(waited) == 3
