"""What the coordinator's adapters take from inside flwr. Fails when flwr moves it: then read the new source first."""

import inspect
from dataclasses import fields
from importlib.metadata import version

from flwr.common.constant import ErrorCode
from flwr.proto.control_pb2 import ListRunsResponse, StartRunRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.superexec import run_superexec
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.router import router

from severable_coordinator.adapters.superlink import FLEET_CALLS


def test_flwr_is_the_version_whose_source_was_read() -> None:
    assert version("flwr") == "1.41.0"


def test_the_gate_lets_exactly_the_fleet_calls_pass_but_for_node_registration() -> None:
    served = {getattr(route, "path", "") for route in router.routes}
    assert served - FLEET_CALLS == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
    assert served >= FLEET_CALLS


def test_superlink_is_configured_by_the_fields_that_we_say() -> None:
    assert {field.name for field in fields(SuperLinkLifespanConfig)} == {
        "control_address",
        "health_server_address",
        "host",
        "port",
        "insecure",
        "certificates",
        "superexec_auth_secret",
        "authn_plugin",
        "event_log_plugin",
        "fleet_event_log_plugin",
        "enable_event_log",
        "artifact_provider",
        "enable_supernode_auth",
        "fleet_api_type",
        "fleet_api_address",
        "simulation",
        "ssl_ca_certfile",
        "ssl_certfile",
        "ssl_keyfile",
        "database",
        "isolation",
        "runtime_dependency_install",
    }


def test_superlink_is_made_of_a_config_and_a_lifespan() -> None:
    assert list(inspect.signature(create_app).parameters) == ["config", "superlink_lifespan_class"]
    assert list(inspect.signature(SuperLinkLifespan).parameters) == ["config", "state_factory"]


def test_the_control_client_has_the_calls_that_we_make() -> None:
    for call in ("StartRun", "StopRun", "ListRuns", "RegisterNode", "UnregisterNode", "ListNodes"):
        assert callable(getattr(ControlHttpClient, call))
    assert {"fab", "override_config"} <= set(StartRunRequest.DESCRIPTOR.fields_by_name)
    assert "run_dict" in ListRunsResponse.DESCRIPTOR.fields_by_name
    assert {"node_id", "public_key", "name", "status"} <= set(NodeInfo.DESCRIPTOR.fields_by_name)


def test_the_executor_still_reads_its_poll_interval_from_the_same_variable() -> None:
    assert run_superexec._TASK_POLL_INTERVAL_ENV == "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"


def test_the_error_codes_that_we_tell_apart_are_the_same() -> None:
    codes = (ErrorCode.LOAD_CLIENT_APP_EXCEPTION, ErrorCode.CLIENT_APP_RAISED_EXCEPTION, ErrorCode.INVALID_FAB)
    assert codes == (1, 2, 7)
