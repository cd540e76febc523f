# Everything starts from a bare machine with Python 3.11, its venv module and a C++ compiler.
PYTHON ?= python3
TORCH ?= torch==2.13.0
RANKS ?= 2
RUN ?= runs/cu-pd-ag-emt
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: campaign test lint types floors nightly truth clean

campaign: .venv/installed  ## the main job: find the Cu-Pd-Ag hull on two ranks
	$(BIN)/mpirun -n $(RANKS) $(BIN)/evo run $(RUN)

test: .venv/developed lint types floors  ## tests, style, types, floors
	$(BIN)/python -m pytest

lint: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/developed
	$(BIN)/mypy

floors: .venv/developed
	$(BIN)/lint-imports

nightly: .venv/developed  ## longer tests
	$(BIN)/python -m pytest -m nightly

truth: .venv/developed  ## the benchmark behind README's figures (hours; resumable)
	$(BIN)/python benchmarks/hull_truth.py run

# torch first: anything that depends on it would otherwise bring a build with gigabytes of CUDA
.venv/installed: pyproject.toml CMakeLists.txt $(wildcard potentials/kernels/*.cpp potentials/kernels/*.h potentials/kernels/*.hpp)
	test -d .venv || $(PYTHON) -m venv .venv
	$(PIP) "$(TORCH)"
	$(PIP) --editable ".[mpi]"
	touch $@

.venv/developed: .venv/installed
	$(PIP) --editable ".[mpi,dev]"
	touch $@

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache runs/*/out potentials/kernels/*.so
