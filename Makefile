# Everything starts from a bare machine with Python 3.11, its venv module and a C++ compiler.
PYTHON ?= python3
TORCH ?= torch==2.13.0
RANKS ?= 2
RUN ?= runs/cu-pd-ag-emt
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

# GPAW in a venv of its own (make dft): nothing of ours depends on it, and its tests are skipped without it
GPAW ?= gpaw==26.7.0
GPAW_ENV := .venv-gpaw
export EVO_GPAW_PYTHON ?= $(wildcard $(CURDIR)/$(GPAW_ENV)/bin/python)
PBE := runs/cu-pd-ag-pbe
PBE_RECIPE ?= embedded
SHIPPED := potentials/shipped/cu-pd-ag-pbe
ASSESSED ?= cu-pd-ag-pbe
ASSESSMENT ?= $(PBE)/assessment
ASSESS = nice -n 19 $(BIN)/potentials assess $(ASSESSED) --against evo.reference:calculator --set fmax=0.01 --set smax=6e-4 --set max_calls=30 --set noise=0.001 --no-figures \
  --answers $(PBE)/assessment/answers.jsonl --arguments

.PHONY: campaign test lint types floors nightly truth wheels speed clean dft dft-packages pbe-labels pbe-library pbe-goals pbe-gold pbe-assess

campaign: .venv/installed  ## the main job: find the Cu-Pd-Ag hull on two ranks
	$(BIN)/mpirun -n $(RANKS) $(BIN)/evo run $(RUN)

test: .venv/developed lint types floors  ## tests, style, types, floors; a file of tests stays on one of WORKERS processes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

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

pbe-labels: .venv/installed  ## DFT labels of the Cu-Pd-Ag library (hours; resumable)
	nice -n 19 $(BIN)/evo reference label $(PBE)/structures.extxyz -o $(PBE)/labels.extxyz.xz --settings $(PBE)/reference.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/long-period.extxyz -o $(PBE)/long-period-labels.extxyz.xz --settings $(PBE)/reference.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/ordered.extxyz -o $(PBE)/ordered-labels.extxyz.xz --settings $(PBE)/reference.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/silver.extxyz -o $(PBE)/silver-labels.extxyz.xz --settings $(PBE)/reference-vibrating.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/palladium.extxyz -o $(PBE)/palladium-labels.extxyz.xz --settings $(PBE)/reference-vibrating.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/strained.extxyz -o $(PBE)/strained-labels.extxyz.xz --settings $(PBE)/reference-dense.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/moduli.extxyz -o $(PBE)/moduli-labels.extxyz.xz --settings $(PBE)/reference-dense.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/vibrating.extxyz -o $(PBE)/vibrating-labels.extxyz.xz --settings $(PBE)/reference-vibrating.toml
	nice -n 19 $(BIN)/evo reference label $(PBE)/soft.extxyz -o $(PBE)/soft-labels.extxyz.xz --settings $(PBE)/reference-vibrating.toml

pbe-library: .venv/installed  ## the library that comes with the package, from the labels there are (a quarter of an hour)
	rm -rf $(PBE)/out/library
	$(BIN)/python $(PBE)/taken.py
	$(BIN)/potentials train $(PBE)/out/library CuPdAg --recipe $(PBE_RECIPE) --data $(PBE)/out/taken.extxyz.xz --at-once $(WORKERS)
	$(BIN)/potentials refit $(PBE)/out/library --iterations 6 --at-once $(WORKERS)
	rm -rf $(SHIPPED) && cp -r $(PBE)/out/library $(SHIPPED) && cp $(PBE)/reference.toml $(SHIPPED)

pbe-goals: .venv/developed  ## a library (ASSESSED=LIB) beside what it must reach before it ships
	$(BIN)/python $(PBE)/goals.py $(ASSESSED)

pbe-gold: .venv/installed  ## DFT labels of the 60 crystals with gold (an hour; resumable)
	nice -n 19 $(BIN)/evo reference label $(PBE)/gold.extxyz -o $(PBE)/gold-labels.extxyz.xz --settings $(PBE)/reference-gold.toml

pbe-assess: .venv/developed  ## the library against DFT of its own method (hours; resumable)
	$(ASSESS) '{"settings": "$(PBE)/reference.toml"}' -o $(ASSESSMENT)/phases --properties lattice,formation,vacancy --prototypes B2,L1_0,L1_1,L1_2,D0_23
	$(ASSESS) '{"settings": "$(PBE)/reference.toml"}' -o $(ASSESSMENT)/phonons --properties phonons --prototypes B2 \
	  --set repeat=2 --set displacement=0.03
	$(ASSESS) '{"settings": "$(PBE)/reference-dense.toml"}' -o $(ASSESSMENT)/moduli --properties elastic --prototypes B2 --set strain=0.01

wheels: .venv/installed  ## wheels of all supported Pythons into dist/; on Linux with docker or podman
	$(PIP) "cibuildwheel>=3"
	$(BIN)/cibuildwheel --output-dir dist

speed: .venv/developed  ## figures of docs/performance.md, peers of our own environment only (see benchmarks/speed.py)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/speed_growth.py
	$(BIN)/python benchmarks/optimisers.py
	$(BIN)/python benchmarks/campaign_profile.py

dft: $(GPAW_ENV)/installed  ## GPAW for the tests and for real campaigns (docs/dft.md)

dft-packages:  ## what GPAW is built with, and Quantum ESPRESSO; Debian, as root
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends g++ python3-dev libxc-dev libopenblas-dev libfftw3-dev quantum-espresso

# without a siteconfig GPAW is built with a C compiler, which fails, and without FFTW, which is half as fast
$(GPAW_ENV)/installed:
	test -d $(GPAW_ENV) || $(PYTHON) -m venv $(GPAW_ENV)
	printf "mpi = False\ncompiler = 'g++'\nfftw = True\nlibraries = ['xc', 'openblas', 'fftw3']\n" > $(GPAW_ENV)/siteconfig.py
	GPAW_CONFIG=$(CURDIR)/$(GPAW_ENV)/siteconfig.py $(GPAW_ENV)/bin/python -m pip install --disable-pip-version-check --quiet "$(GPAW)"
	touch $@

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
