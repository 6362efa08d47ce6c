# Each target does its own set-up from nothing: python3 and make are enough to begin with.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOURCE := $(shell find src -type f -name '*.py') pyproject.toml

.PHONY: help demo test lint lab bench wheel lock clean

help:
	@echo "make demo   a dozen domains come up and go down on an embedded host"
	@echo "make test   lint, types, layers and all tests that need no Xen"
	@echo "make lab    the same promises on a real Xen host inside QEMU (root, Debian)"
	@echo "make bench  speed and memory as ratios against peers"
	@echo "make wheel  build dist/*.whl"

$(VENV)/.ready: requirements/dev.txt
	@sh tools/make-venv $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

# The tests run against what the wheel holds, not against the source tree.
$(VENV)/.installed: $(VENV)/.ready $(SOURCE)
	@rm -rf build/lib
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --force-reinstall .
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/lamplighter demo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy lab bench
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n auto

wheel: $(VENV)/.ready
	@rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	@ls dist/*.whl

lab: wheel
	$(BIN)/python -m lab

bench: $(VENV)/.installed
	$(BIN)/python -m bench

lock: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --no-header --annotation-style=line \
		-o requirements/dev.txt requirements/dev.in pyproject.toml

clean:
	rm -rf $(VENV) build dist
