# Everything here sets itself up: it needs make, Python 3.11 or later with venv, and the registries.
# tests/*.lock pin every package by version and hash, for pip alone: requirements.lock is all that
# development needs, demo.lock is what running Rowcall needs, so that the demo starts sooner.
# `make test ROWCALL_TEST_PG_BIN=/usr/lib/postgresql/15/bin` tests on that PostgreSQL.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench lock
.DELETE_ON_ERROR:

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
CANDIDATES := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" --all-extras

help:
	@echo 'make demo    the whole story on a PostgreSQL of its own'
	@echo 'make test    the tests; ROWCALL_TEST_PG_BIN=<bin directory> chooses the PostgreSQL'
	@echo 'make lint    ruff, mypy, import-linter'
	@echo 'make bench   the measurements'
	@echo 'make lock    pin the newest packages that pyproject.toml allows'

demo: .venv/demo.stamp
	$(BIN)/rowcall demo

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: .venv/dev.stamp
	$(BIN)/rowcall bench capture
	$(BIN)/rowcall bench delivery
	$(BIN)/rowcall bench gate

lock: .venv/dev.stamp
	$(PIP) uv
	$(LOCK) --upgrade --group dev -o tests/requirements.lock pyproject.toml
	$(LOCK) --group build -c tests/requirements.lock -o tests/demo.lock pyproject.toml

.venv/demo.stamp: pyproject.toml tests/demo.lock | .venv/bin/python
	$(PIP) --require-hashes -r tests/demo.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: pyproject.toml tests/requirements.lock | .venv/bin/python
	$(PIP) --require-hashes -r tests/requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch .venv/demo.stamp $@

.venv/bin/python:
	@for python in $(CANDIDATES); do \
		if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then exec $$python -m venv --clear .venv; fi; \
	done; echo 'Python 3.11 or later with venv is needed (make PYTHON=<path>).' >&2; exit 1
