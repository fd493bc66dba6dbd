# Two commands for a newcomer: `make demo` shows the product, `make test` proves it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-for-tests

.PHONY: demo test lint unit bench soak browser node clean

demo: $(STAMP)
	$(BIN)/gateway demo

test: lint unit

lint: $(TEST_STAMP)
	$(BIN)/ruff format --check gateway tests fixtures scripts
	$(BIN)/ruff check gateway tests fixtures scripts
	$(BIN)/mypy

unit: $(TEST_STAMP) browser node
	$(BIN)/python -m pytest tests --ignore=tests/bench -m "not slow" -n 2 --dist loadfile

bench: $(TEST_STAMP)
	for file in tests/bench/bench_*.py; do $(BIN)/python $$file || exit 1; done

soak: $(TEST_STAMP)
	$(BIN)/python -m pytest tests -m slow

# Chromium for the browser tests: from PATH, else Debian's package where this user may install it.
browser:
	@sh scripts/browser.sh

# Node for the JavaScript client's test: from PATH, else Debian's package where this user may install it.
node:
	@sh scripts/node.sh

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(TEST_STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(STAMP)

clean:
	rm -rf $(VENV) .demo
