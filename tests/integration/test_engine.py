"""Flower for real: a gated SuperLink, its executor and two SuperNodes as processes, with TLS and node authentication.

Takes about a minute, most of it Flower's imports. One federation serves all tests of this file.
"""

import shutil
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import httpx
import pytest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from integration.engine_fixture.federation import (
    APP,
    Federation,
    Owner,
    Processes,
    free_port,
    new_federation,
    wait_until,
)

from severable_client.adapters.flower_app import make_app
from severable_client.adapters.flower_executor import ACQUIRE_TASK, Executor, serve
from severable_client.ports import JobReport, JobState
from severable_coordinator.adapters import engine
from severable_coordinator.adapters.control import ControlApi
from severable_coordinator.adapters.superlink import MAX_BODY_BYTES
from severable_coordinator.errors import BusyError, EngineError

pytestmark = [
    pytest.mark.integration,
    # Flower builds its bundles with a pattern class that pathspec wants renamed.
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Processes() as processes:
        made = new_federation(tmp_path_factory.mktemp("engine"), processes)
        made.start()
        yield made


@pytest.fixture(scope="module")
def owners(federation: Federation) -> tuple[Owner, Owner]:
    first, second = federation.add_owner("first"), federation.add_owner("second")
    for owner in (first, second):
        engine.register_node(federation.config, owner.public_key, owner.home.name)
        federation.start_node(owner)
        federation.start_executor(owner)
    federation.wait_online(2)
    return first, second


@pytest.fixture(scope="module")
def agreed(federation: Federation) -> tuple[Path, str]:
    """The bundle that both owners' contracts name, and its digest."""
    path = federation.root / "agreed.fab"
    return path, engine.build_bundle(APP, path)


@pytest.fixture(scope="module")
def foreign(federation: Federation) -> Path:
    """Another bundle: one comment more."""
    changed = federation.root / "foreign-app"
    shutil.copytree(APP, changed)
    with (changed / "client_app.py").open("a") as file:
        file.write("# not what was agreed\n")
    path = federation.root / "foreign.fab"
    engine.build_bundle(changed, path)
    return path


def test_a_foreign_bundle_is_refused_before_a_line_of_it_runs(
    federation: Federation, owners: tuple[Owner, Owner], agreed: tuple[Path, str], foreign: Path
) -> None:
    first, second = owners
    first.allow(agreed[1])
    second.allow()  # no active contract: nothing is allowed
    federation.run(foreign, "foreign", [first, second])
    for owner in owners:
        (report,) = federation.reports(f"foreign-{owner.home.name}")
        assert report["state"] == "refused"
        assert "is in no active contract" in report["detail"]
        assert owner.asked() == []
    assert not federation.mark.exists()


def test_a_message_goes_to_both_nodes_and_their_reports_come_back(
    federation: Federation, owners: tuple[Owner, Owner], agreed: tuple[Path, str]
) -> None:
    bundle, digest = agreed
    for owner in owners:
        owner.allow(digest)
    run = federation.run(bundle, "agreed", list(owners))
    assert (run.status, run.outcome) == ("finished", "completed")
    for owner in owners:
        name = f"agreed-{owner.home.name}"
        answered = [report for report in federation.reports(name) if "offline" not in report["detail"]]
        assert [report["state"] for report in answered] == ["training", "shipped"]
        assert [(report["step"], report["steps"]) for report in answered] == [(1, 2), (2, 2)]
        assert {asked["task"] for asked in owner.asked()} == {name}
    assert not federation.mark.exists()


def test_a_node_without_a_task_gets_no_message(
    federation: Federation, owners: tuple[Owner, Owner], agreed: tuple[Path, str]
) -> None:
    busy, idle = owners
    for owner in owners:
        owner.allow(agreed[1])
    before = len(idle.asked())
    federation.run(agreed[0], "alone", [busy])
    assert federation.reports("alone-first")[-1]["state"] == "shipped"
    assert len(idle.asked()) == before


def ask_fleet_port(federation: Federation, path: str, method: str = "POST", **headers: str) -> int:
    context = ssl.create_default_context(cafile=str(federation.config.ca))
    connection = HTTPSConnection("127.0.0.1", federation.config.fleet_port, timeout=10, context=context)
    try:
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/acquire-task",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "//v1/control/start-run",
        "/health",
        "/docs",
        "/openapi.json",
    ],
)
def test_the_public_port_refuses_everything_but_fleet_calls(federation: Federation, path: str) -> None:
    assert ask_fleet_port(federation, path, content_length="0") == 403


def test_the_public_port_refuses_a_body_over_the_limit_before_reading_it(federation: Federation) -> None:
    assert ask_fleet_port(federation, "/v1/fleet/pull-messages", content_length=str(MAX_BODY_BYTES + 1)) == 413


def test_the_public_port_refuses_a_body_of_unknown_length(federation: Federation) -> None:
    assert ask_fleet_port(federation, "/v1/fleet/pull-messages", transfer_encoding="chunked") == 411


def test_the_public_port_refuses_a_fleet_call_without_a_node_key(federation: Federation) -> None:
    status = ask_fleet_port(
        federation, "/v1/fleet/pull-messages", content_length="0", content_type="application/x-protobuf"
    )
    assert 400 <= status < 500


def test_an_executor_with_another_secret_gets_no_task_from_the_supernode(owners: tuple[Owner, Owner]) -> None:
    runtime = f"127.0.0.1:{owners[0].config.runtime_port}"
    app = make_app(lambda _: JobReport(state=JobState.SHIPPED))
    with (
        Executor(runtime, b"not the secret", frozenset, app) as stranger,
        pytest.raises(PermissionError, match="secret"),
    ):
        serve(stranger)


def test_an_executor_with_another_secret_gets_no_task_from_the_superlink(federation: Federation) -> None:
    stranger = RuntimeHttpClient.from_server_address(
        f"127.0.0.1:{federation.config.control_port}",
        insecure=False,
        root_certificates=federation.config.ca.read_bytes(),
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperExec"),
            SuperExecAuthHttpInterceptor(master_secret=b"not the secret", protected_methods=frozenset({ACQUIRE_TASK})),
        ],
    )
    with stranger, pytest.raises(httpx.HTTPStatusError, match="401"):
        stranger.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-serverapp"]))


def test_a_node_whose_key_is_not_registered_is_refused(federation: Federation) -> None:
    stranger = federation.add_owner("stranger")
    node = federation.start_node(stranger)
    wait_until(lambda: node.poll() is not None, "the stranger's node ends")
    assert node.returncode != 0
    assert "stranger" not in {each.name for each in federation.config.control.nodes()}


def test_a_node_registered_twice_keeps_its_id_and_an_unregistered_one_is_gone(federation: Federation) -> None:
    late = federation.add_owner("late")
    config = federation.config
    assert engine.register_node(config, late.public_key, "late") == engine.register_node(
        config, late.public_key, "late"
    )
    engine.unregister_node(config, late.public_key)
    assert "late" not in {node.name for node in config.control.nodes() if node.status != "unregistered"}


def test_a_run_can_be_stopped_and_an_unknown_one_cannot(
    federation: Federation, owners: tuple[Owner, Owner], agreed: tuple[Path, str]
) -> None:
    del owners
    run_id = engine.submit(federation.config, agreed[0], {"batch": "nothing"})
    engine.stop_run(federation.config, run_id)
    assert engine.run_status(federation.config, run_id).outcome == "stopped"
    with pytest.raises(EngineError):
        engine.run_status(federation.config, run_id + 1)


def test_a_port_in_use_is_named_before_anything_starts(federation: Federation) -> None:
    with pytest.raises(BusyError, match=str(federation.config.control_port)):
        engine.prepare(federation.config)


def test_a_second_superlink_on_the_same_port_ends_with_one_line(federation: Federation) -> None:
    log = federation.root / "second.log"
    second = federation.processes.start(
        engine.superlink_command(federation.config), engine.environment(federation.config), log
    )
    wait_until(lambda: second.poll() is not None, "the second SuperLink ends")
    assert second.returncode == 1
    assert log.read_text().strip().splitlines()[-1].startswith("superlink: cannot listen on 127.0.0.1:")


def test_no_superlink_is_one_clear_error(federation: Federation) -> None:
    elsewhere = ControlApi(f"127.0.0.1:{free_port()}", federation.config.ca)
    with pytest.raises(EngineError, match="start it first"):
        elsewhere.nodes()
