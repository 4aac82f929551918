"""Regenerate the gRPC code from the .proto files, or check that it is up to date.

python deploy/protoc.py            write severable_protos/v1/*_pb2*.py and .pyi
python deploy/protoc.py --check    exit 1 when what is checked in differs from what the .proto files give
"""

import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parents[1] / "protos" / "src"
PROTOS = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.glob("severable_protos/v1/*.proto"))


def generate(target: Path) -> None:
    """Write the generated modules and stubs below `target`; exits with protoc's words on a bad .proto file."""
    # protoc finds mypy-protobuf's plugins on PATH: they stand beside this interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    include = str(files("grpc_tools") / "_proto")
    flags = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    if protoc.main(["protoc", f"-I{SOURCE}", f"-I{include}", *flags, *PROTOS]) != 0:
        sys.exit("protoc failed; see its lines above")


def stale() -> list[str]:
    """Names of the generated files that are missing or differ from what the .proto files give."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        return [
            name
            for path in fresh
            if not (SOURCE / (name := path.relative_to(scratch).as_posix())).exists()
            or (SOURCE / name).read_bytes() != path.read_bytes()
        ]


def main() -> None:
    """Write, or with --check compare."""
    if "--check" not in sys.argv[1:]:
        generate(SOURCE)
        return
    if old := stale():
        sys.exit(f"generated code is out of date: {', '.join(old)}; run `make protos`")
    print("generated code is up to date")


if __name__ == "__main__":
    main()
