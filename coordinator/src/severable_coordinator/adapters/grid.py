"""The `Nodes` port on a Flower grid: tasks become messages, replies become reports.

What nodes send back is untrusted: it is checked for form here and believed only as a report, never as evidence. Flower
binds neither a reply's body nor its sender to the node that signed in (docs/adr/0002-engine.md).
"""

from collections.abc import Mapping, Sequence

from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from severable_coordinator.adapters.control import openssh_line
from severable_coordinator.dispatch import JobReport, JobState, Silence, Task

JOB_RECORD = "job"  # request: task, nonce, contract, recipe; sub_shard under a contract that divides the records
REPORT_RECORD = "report"  # answer: state, step, steps, detail
MESSAGE_TTL_S = 60.0  # a message not answered by then is sent anew; asking twice changes nothing
_MAX_DETAIL = 500  # characters


class GridNodes:
    """The `Nodes` port on a Flower grid."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._asked: dict[str, str] = {}  # task id, by the id of the message that asks for it
        self._stopping: dict[str, str] = {}  # the same of messages that end a job
        self._stopped: set[str] = set()

    def send(self, tasks: Sequence[Task]) -> frozenset[str]:
        """Send a message for each task whose node is online."""
        sent = self._push(tasks, MessageType.TRAIN)
        self._asked |= sent
        return frozenset(sent.values())

    def stop(self, tasks: Sequence[Task]) -> frozenset[str]:
        """Tell nodes that are online to end their jobs; any report will do, a job is ended or not there."""
        for reply in self._grid.pull_messages(list(self._stopping)) if self._stopping else ():
            task_id = self._stopping.pop(reply.metadata.reply_to_message_id, None)
            if task_id and isinstance(read_reply(reply), JobReport):  # else it is told again
                self._stopped.add(task_id)
        waiting = set(self._stopping.values()) | self._stopped
        self._stopping |= self._push([task for task in tasks if task.id not in waiting], MessageType.QUERY)
        return frozenset(self._stopped)

    def _push(self, tasks: Sequence[Task], kind: str) -> dict[str, str]:
        """Send messages to the nodes that are online; returns task ids by the ids of the messages sent."""
        online = {openssh_line(node.public_key): node.node_id for node in self._grid.get_nodes()} if tasks else {}
        reachable = [task for task in tasks if openssh_line(task.node_key) in online]
        if not reachable:
            return {}
        messages = [_request(task, online[openssh_line(task.node_key)], kind) for task in reachable]
        ids = self._grid.push_messages(messages)
        # Flower gives None in place of an id for a message that it did not take.
        return {message: task.id for message, task in zip(ids, reachable, strict=False) if message}

    def answers(self) -> Mapping[str, JobReport | Silence]:
        """Collect the answers that are there."""
        if not self._asked:
            return {}
        got: dict[str, JobReport | Silence] = {}
        for reply in self._grid.pull_messages(list(self._asked)):
            if task_id := self._asked.pop(reply.metadata.reply_to_message_id, None):
                got[task_id] = read_reply(reply)
        return got


def _request(task: Task, node_id: int, kind: str) -> Message:
    fields = {"task": task.id, "nonce": task.nonce, "contract": task.contract, "recipe": task.recipe}
    part = {} if task.sub_shard is None else {"sub_shard": task.sub_shard}
    content = RecordDict({JOB_RECORD: ConfigRecord({**fields, **part})})
    return Message(content, dst_node_id=node_id, message_type=kind, ttl=MESSAGE_TTL_S)


def read_reply(reply: Message) -> JobReport | Silence:
    """Turn a node's reply, of any content, into a report or a reason for there being none."""
    if reply.has_error():
        return _read_error(reply.error)
    fields = reply.content.config_records.get(REPORT_RECORD, ConfigRecord())
    state, step, steps, detail = (fields.get(name) for name in ("state", "step", "steps", "detail"))
    if not isinstance(state, str) or state not in set(JobState) or not isinstance(detail, str):
        return Silence("its answer is malformed")
    if not _count(step) or not _count(steps):
        return Silence("its answer is malformed")
    return JobReport(state=JobState(state), step=int(str(step)), steps=int(str(steps)), detail=_one_line(detail))


def _count(value: object) -> bool:
    return type(value) is int and value >= 0


def _read_error(error: Error) -> JobReport | Silence:
    reason = _one_line(error.reason or "no reason given")
    match error.code:
        case ErrorCode.INVALID_FAB:  # the node's own executor says so: the bundle is in none of its contracts
            return JobReport(state=JobState.REFUSED, detail=reason)
        case ErrorCode.CLIENT_APP_RAISED_EXCEPTION | ErrorCode.LOAD_CLIENT_APP_EXCEPTION:
            return JobReport(state=JobState.FAILED, detail=reason)
        case _:
            return Silence(reason)


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:_MAX_DETAIL]
