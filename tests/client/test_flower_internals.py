"""What adapters/flower_executor.py takes from inside flwr. Fails when flwr moves it: then read the new source first."""

import inspect
from importlib.metadata import version
from pathlib import Path

from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.superexec import run_superexec
from flwr.supernode.cli import flower_supernode
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from severable_client.adapters.flower_executor import ACQUIRE_TASK
from severable_client.adapters.flower_node import NodeConfig, supernode_command


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_flwr_is_the_version_whose_source_was_read() -> None:
    assert version("flwr") == "1.41.0"


def test_the_steps_of_a_task_take_what_the_executor_gives() -> None:
    assert parameters(pull_task_input) == ["client"]
    assert parameters(push_message) == ["client", "message", "context"]
    assert parameters(push_task_output) == ["client", "context", "sub_status", "details"]
    assert "content" in inspect.signature(Fab).parameters


def test_the_runtime_client_is_opened_as_before() -> None:
    wanted = ["server_address", "insecure", "root_certificates", "interceptors", "retry_invoker"]
    assert parameters(RuntimeHttpClient.from_server_address) == wanted
    assert "component_name" in parameters(RuntimeVersionHttpInterceptor)
    assert parameters(RuntimeTokenHttpInterceptor) == ["token"]
    assert {"master_secret", "protected_methods"} <= set(parameters(SuperExecAuthHttpInterceptor))


def test_taking_a_task_is_still_the_protected_call() -> None:
    assert frozenset({ACQUIRE_TASK}) == run_superexec._SUPEREXEC_AUTH_METHODS
    assert "supported_task_types" in AcquireTaskRequest.DESCRIPTOR.fields_by_name
    assert "token" in AcquireTaskResponse.DESCRIPTOR.fields_by_name
    assert str(TaskType.CLIENT_APP) == "flwr-clientapp"


def test_the_words_for_how_a_task_ended_are_the_same() -> None:
    assert (SubStatus.COMPLETED, SubStatus.FAILED) == ("completed", "failed")
    assert (ErrorCode.CLIENT_APP_RAISED_EXCEPTION, ErrorCode.INVALID_FAB) == (2, 7)


def test_the_supernode_still_knows_every_option_that_we_give() -> None:
    assert callable(flower_supernode)
    source = inspect.getsource(inspect.getmodule(flower_supernode) or flower_supernode)
    here = Path()
    config = NodeConfig(directory=here, superlink="127.0.0.1:1", ca=here, private_key=here, runtime_port=2)
    secret_option = "--superexec-auth-secret-file"  # declared in another module, with the same name for all processes
    for option in (word for word in supernode_command(config) if word.startswith("--")):
        assert f'"{option}"' in source or option == secret_option
