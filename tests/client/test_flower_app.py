"""The ClientApp: what it takes for a request, and how it puts a report into a reply."""

from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from severable_client.adapters.flower_app import make_app, read_request
from severable_client.ports import JobReport, JobRequest, JobState

FIELDS: dict[str, Any] = {
    "task": "batch-1.a",
    "nonce": "0f" * 32,
    "contract": "sha256:" + "a" * 64,
    "recipe": "sha256:" + "b" * 64,
}


def content(**changes: object) -> RecordDict:
    fields: dict[str, Any] = {**FIELDS, **changes}
    record = ConfigRecord({name: value for name, value in fields.items() if value is not None})
    return RecordDict({"job": record})


def test_a_well_formed_message_is_a_job_request() -> None:
    assert read_request(content()) == JobRequest(**FIELDS)


def test_a_message_may_name_a_sub_shard() -> None:
    assert read_request(content(sub_shard=0)).sub_shard == 0
    assert read_request(content(sub_shard=63)).sub_shard == 63


@pytest.mark.parametrize("value", [-1, 64, True, "1", 1.0, b"1", [1]])
def test_a_sub_shard_of_another_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="'sub_shard'"):
        read_request(content(sub_shard=value))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", ""),
        ("task", "../../etc/passwd"),
        ("task", "a" * 129),
        ("task", "a\nb"),
        ("nonce", "0F" * 32),
        ("nonce", "0f" * 31),
        ("contract", "a" * 64),
        ("contract", "sha256:" + "g" * 64),
        ("recipe", "sha256:" + "b" * 64 + "\n"),
        ("recipe", 7),
        ("recipe", b"sha256:" + b"b" * 64),
    ],
)
def test_a_field_of_another_form_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"'{field}'"):
        read_request(content(**{field: value}))


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly"):
        read_request(content(nonce=None))


def test_an_additional_field_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly"):
        read_request(content(command="rm"))


def test_a_message_that_carries_anything_besides_is_refused() -> None:
    for name, extra in (
        ("weights", ArrayRecord({"w": Array("float32", (1,), "numpy.ndarray", b"0000")})),
        ("metrics", MetricRecord({"loss": 1.0})),
        ("more", ConfigRecord({"task": "t"})),
    ):
        crowded = content()
        crowded[name] = extra
        with pytest.raises(ValueError, match="nothing else"):
            read_request(crowded)


def answer(request: RecordDict, report: JobReport, kind: str = MessageType.TRAIN) -> Message:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 5
    message = Message(request, 5, kind, ttl=60.0)
    message.metadata.__dict__["_message_id"] = message.object_id
    context = Context(run_id=7, node_id=5, node_config={}, state=RecordDict(), run_config={})
    return make_app(lambda _: report)(message=message, context=context)


def test_the_desks_report_is_the_reply() -> None:
    report = JobReport(state=JobState.TRAINING, step=3, steps=10, detail="loss 0.2")
    assert dict(answer(content(), report).content.config_records["report"]) == {
        "state": "training",
        "step": 3,
        "steps": 10,
        "detail": "loss 0.2",
    }


def test_a_malformed_message_is_answered_with_refused_and_never_reaches_the_desk() -> None:
    reply = answer(content(nonce="?"), JobReport(state=JobState.SHIPPED))
    record = reply.content.config_records["report"]
    assert record["state"] == "refused"
    assert record["detail"] == "message field 'nonce' has the wrong form"


def test_a_query_of_the_same_form_ends_a_job_only_where_the_app_can_and_never_adds_one() -> None:
    reply = answer(content(), JobReport(state=JobState.SHIPPED), MessageType.QUERY)
    assert reply.content.config_records["report"]["detail"] == "no job is ended by a message here"
