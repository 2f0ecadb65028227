# make demo: the whole main job on real data.  make test: the whole test suite.  Both set up first.

PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SETTINGS := setup.cfg pyproject.toml constraints.txt spladev3_anserini/__init__.py
ifneq ($(wildcard ../shared/data),)
export SPLADEV3_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test test-long faults lint clean

demo: .venv/.ready
	$(BIN)/spladev3-anserini demo

test: .venv/.ready-to-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m "not long"

test-long: .venv/.ready-to-test
	$(BIN)/python -m pytest -n auto --maxprocesses 4

# all that is broken on purpose, with N random draws; again with one seed: SPLADEV3_FAULTS_SEED=7
N ?= 200
faults: .venv/.ready-to-test
	SPLADEV3_FAULTS=$(N) $(BIN)/python -m pytest -n auto --maxprocesses 4 -m fault --reliability docs/reliability.md

lint: .venv/.ready-to-test
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo

.venv/.ready: $(SETTINGS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 2; }
	@echo "setting up .venv with $(PYTHON): about 2 minutes and 2.2 GB"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	@touch $@

.venv/.ready-to-test: .venv/.ready
	@echo "adding what the tests need to .venv"
	$(INSTALL) -e '.[test]'
	@touch $@
