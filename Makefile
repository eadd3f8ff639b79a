# qpq: `make help` tells the targets. Nothing here needs root; what root adds is said where it matters.
#
#   PYTHON=/path/to/python   use this one instead of the newest of python3.14 ... python3.11, python3
#   SECONDS=30 HOURS=n       how long `make fuzz` spends on each decoder
#   ARGS='...'               more arguments for the node (run), pytest (test), the bench, the fuzzer

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: bench check-locks clean demo distclean dev drain env format fuzz help lint lock options run sim sim-all sim-ci sim-hostile sim-reality sim-scale tables test vectors

VENV := .venv
PY := $(VENV)/bin/python
ROOT := $(CURDIR)
UV_VERSION := 0.13.9
SECONDS := 30
HOURS :=
ARGS :=

# Only what the lock names, every file checked against its hash. x86_64 and aarch64 need no compiler; elsewhere pip may
# have to build a package from its (hashed) source.
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes --no-deps

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(VENV)/run.stamp ## build .venv from the locked, hashed requirements; .venv/bin/qpq is the node

dev: $(VENV)/dev.stamp ## the same with the tools for tests, lint and fuzzing

run: $(VENV)/run.stamp ## start a node here (unless one runs already) and open its console
	@$(VENV)/bin/qpq run $(ARGS)

test: $(VENV)/dev.stamp ## unit, property, vector and fuzz-replay tests with coverage gates; as root the network tests too
	@$(PY) tests/rigs/run_tests.py $(ARGS)

demo: $(VENV)/run.stamp ## nodes on this machine find each other, exchange messages, and write to another community, narrated
	@$(PY) tests/demo.py

bench: $(VENV)/run.stamp ## measure the node beside LXMF in the same run; writes dist/bench.json
	@$(PY) tests/bench/run.py $(ARGS)

sim: $(VENV)/run.stamp ## simulate the mesh: SCENARIO=file, or a name in tests/sim/scenarios; writes dist/sim/
	@PYTHONPATH=tests:node $(PY) -m sim $(or $(SCENARIO),$(error name one: make sim SCENARIO=line5)) $(ARGS)

sim-ci: $(VENV)/run.stamp ## the scenarios that CI runs, within ten minutes on two cores
	@PYTHONPATH=tests:node $(PY) -m sim --quiet --ci $(ARGS)

sim-scale: $(VENV)/run.stamp ## what a node costs in networks of 10 to 1,000, with exponents and plots; ARGS='3000 5000'
	@PYTHONPATH=tests:node $(PY) -m sim.scaling $(ARGS)

sim-hostile: $(VENV)/run.stamp ## the scenarios with liars: each kind, and all kinds at 10 % and 30 % with 20 seeds
	@PYTHONPATH=tests:node $(PY) -m sim --quiet $(sort $(wildcard tests/sim/scenarios/hostile-*.toml)) $(ARGS)

sim-reality: $(VENV)/dev.stamp ## as root: real daemons beside the simulator, the same part of a city, the same messages
	@QPQ_REALITY=1 $(PY) -m pytest -q -s -p no:cacheprovider tests/net/test_reality.py

drain: $(VENV)/dev.stamp ## as root: 10,000 messages for ten people of another community wait, cross, and are counted
	@QPQ_QUEUED=10000 $(PY) -m pytest -q -s -p no:cacheprovider tests/net/test_federation_net.py -k ten_people

sim-all: $(VENV)/run.stamp ## every scenario with all its seeds; fails where one is not as expected
	@PYTHONPATH=tests:node $(PY) -m sim --quiet $(ARGS)

lint: $(VENV)/dev.stamp ## ruff (all rules), formatting, mypy --strict, shellcheck
	@$(VENV)/bin/ruff check --no-cache .
	@$(VENV)/bin/ruff format --check --quiet . || { echo "run 'make format'" >&2; exit 1; }
	@$(VENV)/bin/mypy --strict -p qpq
	@$(VENV)/bin/mypy --strict -p cross
	@$(VENV)/bin/mypy --strict -p openwrt
	@if command -v shellcheck >/dev/null; then git ls-files -co --exclude-standard '*.sh' .ci/run procd uci/50-qpq | xargs shellcheck; \
	else echo "lint: shellcheck is not installed, shell scripts were left out"; fi

format: $(VENV)/dev.stamp ## let ruff format the Python files
	@$(VENV)/bin/ruff format --quiet .

fuzz: $(VENV)/dev.stamp ## coverage-guided fuzzing of every decoder, SECONDS=30 or HOURS=n for each
	@$(PY) tests/fuzz/fuzz.py --seconds $(if $(HOURS),$$(($(HOURS) * 3600)),$(SECONDS)) $(ARGS)

options: $(VENV)/run.stamp ## make the option table's Python and docs/options.md from uci/schema.json
	@$(PY) uci/make_options.py

tables: $(VENV)/run.stamp ## make the router's Cap'n Proto tables from schemas/*.capnp
	@$(PY) schemas/make_tables.py

vectors: $(VENV)/run.stamp ## make the test vectors in schemas/ anew from the code
	@$(PY) tests/vectors/make_vectors.py

lock: build/lock/bin/uv ## resolve the requirements anew; commit what changes in requirements/
	@set -e; compile="build/lock/bin/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url"; \
	$$compile --group build -o requirements/run.lock; \
	$$compile --group build --group dev --constraints requirements/run.lock -o requirements/dev.lock

clean: ## remove what was built, except .venv
	@rm -rf build dist node/*.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
	@find node tests uci schemas -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	@rm -rf $(VENV)

include cross/cross.mk
include openwrt/openwrt.mk

# --- how the environment is made -----------------------------------------------------------

$(VENV)/run.stamp: requirements/run.lock pyproject.toml tests/rigs/find_python.sh
	@set -e; python=$$(sh tests/rigs/find_python.sh $(VENV) $(PYTHON)); \
	if ! [ -x $(PY) ]; then echo "env: making $(VENV) with $$python" >&2; "$$python" -m venv $(VENV); fi
	@$(PIP_INSTALL) $(LOCKED) -r requirements/run.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/run.stamp
	@$(PIP_INSTALL) $(LOCKED) -r requirements/dev.lock
	@touch $@

build/lock/bin/uv: Makefile
	@set -e; python=$$(sh tests/rigs/find_python.sh $(VENV) $(PYTHON)); mkdir -p build; "$$python" -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
