# Everything sets itself up: `make demo` and `make test` are the only two commands a newcomer needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEMO_VENV := .venv-demo
DEMO_STAMP := $(DEMO_VENV)/.ready

KSERVE_VENV := .venv-kserve
KSERVE_STAMP := $(KSERVE_VENV)/.ready
OLDEST_VENV := .venv-box-2.17
OLDEST_STAMP := $(OLDEST_VENV)/.ready
EXAMPLES_VENV := .venv-examples
EXAMPLES_STAMP := $(EXAMPLES_VENV)/.ready

.PHONY: box-2.17 test-box-2.17 example-inspection example-credit-risk examples-environment kserve demo test test-fast lint bench docs setup clean

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

# The examples train models of their own, one of them with scikit-learn: not in the demo's environment.
$(EXAMPLES_STAMP): pyproject.toml constraints/dev.txt examples/credit-risk/requirements.txt
	$(PYTHON) -m venv $(EXAMPLES_VENV)
	$(EXAMPLES_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints/dev.txt -e '.[pack]' \
		-r examples/credit-risk/requirements.txt
	touch $@

examples-environment: $(EXAMPLES_STAMP)

example-inspection: $(EXAMPLES_STAMP)
	$(EXAMPLES_VENV)/bin/python examples/inspection/main.py

example-credit-risk: $(EXAMPLES_STAMP)
	$(EXAMPLES_VENV)/bin/python examples/credit-risk/main.py

# The kserve client brings 60 packages of its own (450 MB): tests/serve/test_kserve_client.py is skipped without.
$(KSERVE_STAMP): constraints/kserve.txt
	$(PYTHON) -m venv $(KSERVE_VENV)
	$(KSERVE_VENV)/bin/python -m pip install -q --disable-pip-version-check -r constraints/kserve.txt
	touch $@

kserve: $(KSERVE_STAMP)

# The oldest set of wheels that sealift packs (CentOS 7's), hashes checked, on an interpreter of this machine:
# tests/collect/test_oldest_box.py runs a part of the box side's tests in it, `make test-box-2.17` all of them.
$(OLDEST_STAMP): $(STAMP) src/sealift/collect/box-2.17.lock constraints/box-2.17-tests.txt
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(BIN)/python constraints/lines.py 2.17 > $(OLDEST_VENV)/locked.txt
	$(OLDEST_VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r $(OLDEST_VENV)/locked.txt
	$(OLDEST_VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps -r constraints/box-2.17-tests.txt
	$(OLDEST_VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

box-2.17: $(OLDEST_STAMP)

test-box-2.17: $(OLDEST_STAMP)
	$(OLDEST_VENV)/bin/python tests/oldest_box.py

# Two processes side by side: the tests that mostly wait for real parts, and all the others. Each has a folder for
# temporary files of its own: pytest's cleaning up at the end of one would meet the other's.
WAITING := tests/journey tests/killing tests/systemd tests/tool tests/scale tests/cli
test: $(STAMP) lint
	apart=$$(mktemp -d /tmp/sXXXX); \
	PYTEST_DEBUG_TEMPROOT=$$apart $(BIN)/python -m pytest -q $(WAITING) > .waiting.log 2>&1 & waiting=$$!; \
	$(BIN)/python -m pytest -q $(addprefix --ignore=,$(WAITING)); others=$$?; \
	wait $$waiting; waited=$$?; echo "$(WAITING):"; cat .waiting.log; rm -f .waiting.log; \
	test $$waited -ne 0 || rm -rf "$$apart"; \
	test $$others -eq 0 && test $$waited -eq 0

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
	rm -rf $(VENV) $(DEMO_VENV) $(KSERVE_VENV) $(OLDEST_VENV) $(EXAMPLES_VENV) examples/*/work .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
