# Two commands for a new user: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := trust diffusion protos client coordinator
STAMP := $(VENV)/.installed
JOBS ?= 3
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -P -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --durations 15 --durations-min 15

.PHONY: help install demo test unit integration soak faults check format protos bench quality throughput fuzz clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(STAMP)  ## set up .venv by plain pip

$(STAMP): constraints.txt requirements-dev.txt $(PACKAGES:%=%/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit("Severable needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt hatchling editables torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation $(PACKAGES:%=-e ./%) -r requirements-dev.txt
	touch $@

demo: install  ## a whole federation on this machine: train, route, compose, remove, prove (about four minutes)
	PYTHONPATH=deploy $(BIN)/python -P -m severable_demo --out demo-out

test: install  ## the whole suite, unit and integration, but for `soak`; JOBS=N for other than three processes
	$(TESTS) -m 'not soak'

unit: install  ## the unit tests alone (a minute or two)
	$(TESTS) -m 'not integration and not soak'

integration: install  ## the tests with real processes alone
	$(TESTS) -m 'integration and not soak'

soak: install  ## the tests that take minutes each: programs killed and resumed, long runs
	$(TESTS) -m soak

faults: install  ## every fault test, with real processes (some 20 minutes); writes docs/results/faults.json
	PYTHONPATH=benchmarks $(BIN)/python -P benchmarks/fault_matrix.py

check: install  ## ruff, mypy strict, import-linter, generated code up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python deploy/protoc.py --check

format: install  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: install  ## regenerate the gRPC code from the .proto files
	$(BIN)/python deploy/protoc.py

bench: install  ## run the benchmarks; they write docs/results
	PYTHONPATH=deploy:benchmarks $(BIN)/python -P benchmarks/demo.py
	PYTHONPATH=benchmarks:tests $(BIN)/python -P benchmarks/trust_layer.py
	PYTHONPATH=benchmarks $(BIN)/python -P benchmarks/dispatch.py
	PYTHONPATH=benchmarks:tests $(BIN)/python -P benchmarks/erasure.py
	PYTHONPATH=benchmarks:tests $(BIN)/python -P benchmarks/resume.py
	PYTHONPATH=benchmarks:tests $(BIN)/python -P benchmarks/removal_crashes.py
	PYTHONPATH=benchmarks $(BIN)/python -P benchmarks/tombstone_sketch.py
	PYTHONPATH=benchmarks $(BIN)/python -P benchmarks/throughput_profile.py
	test -z "$(EXAMPLE)" || $(MAKE) throughput

quality: install  ## quality of composites against monoliths, resumable: make quality DATA=folder/of/images [SIZE=cpu]
	test -d "$(DATA)" || { echo "DATA is no folder: give the one with mnist, fashion-mnist, cifar10 (see docs/quality.md)"; exit 1; }
	PYTHONPATH=benchmarks $(BIN)/python -P -m quality --data $(DATA) --size $(or $(SIZE),cpu)

throughput: install  ## training speed beside diffusers' example: make throughput EXAMPLE=path/to/train_unconditional.py
	test -f "$(EXAMPLE)" || { echo "EXAMPLE is no file: give diffusers' train_unconditional.py (see benchmarks/throughput.py)"; exit 1; }
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps --upgrade --target $(VENV)/throughput -r requirements-throughput.txt
	PYTHONPATH=benchmarks $(BIN)/python -P benchmarks/throughput.py --example $(EXAMPLE) --packages $(VENV)/throughput

fuzz: install  ## fuzz every parser, a minute each; writes docs/results/fuzz.json
	$(BIN)/pip install --quiet --constraint constraints.txt -r requirements-bench.txt
	PYTHONPATH=benchmarks:tests $(BIN)/python -P benchmarks/fuzz.py

clean:  ## remove the environment and what the demo made
	rm -rf $(VENV) demo-out
