"""Replies of any content become reports or silence; messages go to the node that holds the task's key."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from severable_coordinator.adapters.grid import GridNodes, read_reply
from severable_coordinator.dispatch import JobReport, JobState, Silence, Task

GOOD: dict[str, Any] = {"state": "training", "step": 3, "steps": 10, "detail": "loss 0.2"}


@pytest.fixture(autouse=True)
def identity() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 1


def request() -> Message:
    message = Message(RecordDict(), 5, MessageType.TRAIN, ttl=60.0)
    message.metadata.__dict__["_message_id"] = "m"
    return message


def reply(**changes: object) -> Message:
    fields: dict[str, Any] = {**GOOD, **changes}
    record = ConfigRecord({name: value for name, value in fields.items() if value is not None})
    return Message(RecordDict({"report": record}), reply_to=request())


def test_a_well_formed_reply_is_a_report() -> None:
    assert read_reply(reply()) == JobReport(state=JobState.TRAINING, step=3, steps=10, detail="loss 0.2")


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "owned"},
        {"state": None},
        {"state": 3},
        {"step": -1},
        {"step": True},
        {"step": 1.5},
        {"steps": "10"},
        {"steps": None},
        {"detail": None},
        {"detail": b"bytes"},
    ],
)
def test_a_malformed_reply_is_no_report(changes: dict[str, object]) -> None:
    assert read_reply(reply(**changes)) == Silence("its answer is malformed")


def test_a_reply_without_the_report_is_no_report() -> None:
    assert isinstance(read_reply(Message(RecordDict(), reply_to=request())), Silence)


def test_a_detail_is_cut_to_one_printable_line() -> None:
    report = read_reply(reply(detail="a\x1b[2J\nb" + "c" * 1000))
    assert isinstance(report, JobReport)
    assert report.detail.startswith("a [2J b")
    assert len(report.detail) == 500


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (ErrorCode.INVALID_FAB, JobReport(state=JobState.REFUSED, detail="why")),
        (ErrorCode.CLIENT_APP_RAISED_EXCEPTION, JobReport(state=JobState.FAILED, detail="why")),
        (ErrorCode.NODE_UNAVAILABLE, Silence("why")),
        (ErrorCode.CLIENT_APP_CRASHED, Silence("why")),
        (ErrorCode.MESSAGE_UNAVAILABLE, Silence("why")),
    ],
)
def test_an_error_is_final_only_when_the_owners_side_raised_it(code: int, outcome: JobReport | Silence) -> None:
    assert read_reply(Message(Error(code=code, reason="why"), reply_to=request())) == outcome


class OneTurnGrid(Grid):
    """A grid whose nodes answer as soon as they are asked; it stands in for SuperLink, not for our code."""

    def __init__(self, nodes: list[NodeInfo]) -> None:
        self.nodes = nodes
        self.pushed: list[Message] = []

    @property
    def run(self) -> Run:
        return Run.create_empty(7)

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [node.node_id for node in self.nodes]

    def get_nodes(self) -> Iterable[NodeInfo]:
        return self.nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"m{len(self.pushed)}"
            self.pushed.append(message)
        return [message.metadata.message_id for message in self.pushed]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = set(message_ids)
        return [
            Message(RecordDict({"report": ConfigRecord(dict(GOOD))}), reply_to=message)
            for message in self.pushed
            if message.metadata.message_id in wanted
        ]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError


def node_key() -> tuple[str, bytes]:
    """One key, as an OpenSSH line with a comment and as the PEM that Flower gives."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return line.decode() + " owner@host", pem


def task(name: str, key: str) -> Task:
    return Task(id=name, batch="b", party=name, node_key=key, contract="sha256:c", recipe="sha256:r", nonce="n")


def test_a_task_goes_to_the_node_that_holds_its_key_and_to_no_other() -> None:
    line, pem = node_key()
    stranger = node_key()[1]
    grid = OneTurnGrid([NodeInfo(node_id=4, public_key=stranger), NodeInfo(node_id=5, public_key=pem)])
    nodes = GridNodes(grid)
    assert nodes.send([task("a", line)]) == {"a"}
    (message,) = grid.pushed
    assert message.metadata.dst_node_id == 5
    assert dict(message.content.config_records["job"]) == {
        "task": "a",
        "nonce": "n",
        "contract": "sha256:c",
        "recipe": "sha256:r",
    }


def test_the_message_names_a_sub_shard_where_the_task_has_one() -> None:
    line, pem = node_key()
    grid = OneTurnGrid([NodeInfo(node_id=5, public_key=pem)])
    GridNodes(grid).send([replace(task("a", line), sub_shard=0)])
    assert grid.pushed[0].content.config_records["job"]["sub_shard"] == 0


def test_a_task_whose_node_is_not_online_is_not_sent() -> None:
    nodes = GridNodes(OneTurnGrid([NodeInfo(node_id=4, public_key=node_key()[1])]))
    assert nodes.send([task("a", node_key()[0])]) == frozenset()
    assert nodes.answers() == {}


def test_an_answer_is_given_once() -> None:
    line, pem = node_key()
    nodes = GridNodes(OneTurnGrid([NodeInfo(node_id=5, public_key=pem)]))
    nodes.send([task("a", line)])
    assert set(nodes.answers()) == {"a"}
    assert nodes.answers() == {}


def test_a_node_is_told_once_that_a_job_is_not_wanted_any_more_and_any_report_settles_it() -> None:
    line, pem = node_key()
    grid = OneTurnGrid([NodeInfo(node_id=5, public_key=pem)])
    nodes, wanted = GridNodes(grid), [task("a", line), task("b", node_key()[0])]  # b's node is offline
    assert [nodes.stop(wanted) for _ in range(3)] == [frozenset(), {"a"}, {"a"}]
    assert [message.metadata.message_type for message in grid.pushed] == [MessageType.QUERY]
