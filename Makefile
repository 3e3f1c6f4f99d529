# Every chore of the project is a target here; `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
PACKAGES := mta collector dmarc analytics exporter dashboards mtascope

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev up test test-fast soak check format lock generate bench clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*##"} /^[a-z-]+:.*##/ {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.runtime  ## Create .venv with the pinned run-time dependencies

up: setup  ## Run the demo: the whole suite on simulated providers, until Ctrl-C
	$(BIN)/mtascope demo

test: $(VENV)/.dev  ## Run every test; those that need an absent peer (Postfix, Prometheus, ...) say that they skip
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak"

soak: $(VENV)/.dev  ## Run the long proofs: hundreds of random kills, long fuzzing
	$(BIN)/python -m pytest -n 2 --dist worksteal -m soak

test-fast: $(VENV)/.dev  ## Run the tests that start no processes
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not e2e and not peer and not soak"

check: $(VENV)/.dev  ## Lint, format, types and import order
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Let ruff format and fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev  ## Pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" pyproject.toml --group dev -o requirements-dev.lock

generate: setup  ## Write dashboards/generated and docs/metrics.md anew from the code
	$(BIN)/mtascope dashboards build --out dashboards/generated/boards
	$(BIN)/mtascope rules build --out dashboards/generated/rules
	$(BIN)/python -m exporter.catalogue > docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md

bench: $(VENV)/.dev  ## Measure (prints figures, asserts nothing)
	for f in bench/bench_*.py; do $(BIN)/python $$f || exit 1; done

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mtascope needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
