# Each target does its own set-up from nothing: python3 and make are enough to begin with.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# How often pip tries a network that is away: for some four minutes.
export PIP_RETRIES ?= 10
# Bytecode is written, whatever the environment says, so that the next process need not compile.
export PYTHONDONTWRITEBYTECODE :=
SOURCE := $(shell find src -type f ! -name '*.pyc') pyproject.toml

# Where "make install" puts things, and the options of "lamplighter install".
PREFIX       ?= /opt/lamplighter
BINDIR       ?= /usr/local/bin
INSTALLFLAGS ?=

# The options of "python -m lab" in "make lab", such as "--minutes 30".
LABFLAGS ?=

# The options of "python -m bench" in "make bench": --check, --keep.
BENCHFLAGS ?=

# Tests that run side by side, two for each processor: many wait for what they have started.
WORKERS ?= $(shell expr 2 '*' $$(nproc))

.PHONY: help demo test lint style types layers collected simulation soak lab turn lab-bench bench wheel agent install lock clean architecture

help:
	@echo "make demo   a dozen domains come up and go down on an embedded host"
	@echo "make test   lint, types, layers and all tests that need no Xen"
	@echo "make lab    the same promises on a real Xen host inside QEMU (root, Debian): what changed,"
	@echo "            and a third of the rest; LABFLAGS=--all for everything"
	@echo "make turn   once before a landing: the lab's next third"
	@echo "make simulation  2,000 simulated hosts with faults and kills; deliberate defects are found"
	@echo "make soak   simulated hosts, faults and kills from new seeds, until stopped"
	@echo "make bench  speed and memory as ratios against peers; what fell back is reported"
	@echo "make lab-bench  Lamplighter beside xendomains, libvirt-guests and xl, on real Xen (root, Debian)"
	@echo "make wheel  build dist/*.whl"
	@echo "make agent  build dist/lamplighter-agent, the one file that goes into a guest"
	@echo "make architecture  draw docs/architecture.svg from the imports; a test fails when it is stale"
	@echo "make install  as root: into $(PREFIX), $(BINDIR)/lamplighter, and the systemd unit"

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

lint: types style layers

types: $(VENV)/.installed
	$(BIN)/mypy

style: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

layers: $(VENV)/.installed
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips --target=3.9- --violations $$($(BIN)/python tools/make-agent --list)

# One process compiles the tests for all that will run them.
collected: $(VENV)/.installed
	@$(BIN)/pytest --collect-only --quiet >/dev/null || $(BIN)/pytest --collect-only --quiet

test: $(VENV)/.installed
	@$(MAKE) --no-print-directory --output-sync --jobs 2 lint collected
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

simulation: $(VENV)/.installed
	$(BIN)/python -m tests.simulation

soak: $(VENV)/.installed
	$(BIN)/python -m tests.simulation --soak $$(date +%s000)

wheel: $(VENV)/.ready
	@rm -f dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	@ls dist/*.whl

# It needs Python and nothing else.
agent:
	@$(PYTHON) tools/make-agent dist/lamplighter-agent
	@ls dist/lamplighter-agent

# The environment is the product's own and is kept, so that the program is there all the time while
# a newer one is installed. Root starts it: whatever the umask is, nobody else may write to it.
install: wheel
	@test -f $(PREFIX)/pyvenv.cfg || ! test -e $(PREFIX) || \
		{ echo "make install: $(PREFIX) is there and is no virtual environment" >&2; exit 1; }
	@umask 022 && { test -f $(PREFIX)/pyvenv.cfg || sh tools/make-venv $(PYTHON) $(PREFIX); }
	@umask 022 && $(PREFIX)/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	@umask 022 && $(PREFIX)/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --force-reinstall dist/*.whl
	@ln -sfn $(PREFIX)/bin/lamplighter $(BINDIR)/lamplighter
	@$(BINDIR)/lamplighter install $(INSTALLFLAGS)

lab: wheel agent
	$(BIN)/python -m lab $(LABFLAGS)

# Once before each landing. lab/landing.py says what follows from it.
turn: $(VENV)/.ready
	@$(BIN)/python -m lab turn

# An hour and more: the same guests by Lamplighter, xendomains, libvirt-guests and xl itself.
lab-bench: wheel
	$(BIN)/python -m lab.peers $(LABFLAGS)

# It reads the source and needs nothing else.
architecture:
	@$(PYTHON) tools/architecture.py

bench: $(VENV)/.installed
	$(BIN)/python -m bench $(BENCHFLAGS)

lock: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --no-header --annotation-style=line \
		-o requirements/dev.txt requirements/dev.in pyproject.toml

clean:
	rm -rf $(VENV) build dist
