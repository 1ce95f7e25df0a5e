# Everything sets itself up: `make demo` and `make test` are the only two commands a newcomer needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
STAMP := $(VENV)/.ready
DEMO_VENV := .venv-demo
DEMO_STAMP := $(DEMO_VENV)/.ready

.PHONY: demo test test-fast lint bench docs setup clean

$(STAMP): pyproject.toml constraints/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r constraints/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

setup: $(STAMP)

# A user's installation, not a developer's: the demo must not need torch or anything else of ours.
$(DEMO_STAMP): pyproject.toml constraints/dev.txt
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints/dev.txt -e '.[pack]'
	touch $@

demo: $(DEMO_STAMP)
	$(DEMO_VENV)/bin/sealift demo

# Two processes by default, a test file to one of them: half of the suite waits for real parts.
test: $(STAMP) lint
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

test-fast: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) $(DEMO_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
