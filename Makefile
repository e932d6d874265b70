# Needs make and Python 3.11 or newer; uses uv when it is there. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
HERE := $(CURDIR)

# Hundreds of processes import the same files: compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev up down test test-long bench chaos fuzz check format lock clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.setup ## Create .venv with everything that running needs
	@echo "Ready: try 'make up'."

setup-dev: $(VENV)/.setup-dev ## The same, with what tests and checks need

up: $(VENV)/.setup ## Run everything here, with demo shops; Ctrl-C stops it
	@$(BIN)/python -m workers.cli up

down: $(VENV)/.setup ## Stop what runs here; data stays
	@$(BIN)/python -m workers.cli down

# Many tests wait, for servers to start and pages to settle: more processes than two cores. With four of them there is
# more that only waits for the others. A file stays in one of them.
JOBS := 3

PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

test: $(VENV)/.setup-dev ## Run what every change has to pass; ARGS="-k words" chooses some, JOBS=0 runs them one by one
	$(PYTEST) --numprocesses $(JOBS) -m "not long" $(ARGS)

test-long: $(VENV)/.setup-dev ## Run what takes minutes for one thing: whole files, outages, chaos, phones; before a release
	$(PYTEST) --numprocesses $(JOBS) -m long $(ARGS)

bench: $(VENV)/.setup ## Measure; ARGS="apply --json" chooses one (ingest, apply, plan, replay, hot_sku, scarce, quota, catalogue, import, propagate, ledger, oversell)
	$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/.setup-dev ## Strike a whole running system; ARGS="--seed 7 --blows 120 --report chaos.json"
	$(BIN)/python -m tests.chaos $(ARGS)

fuzz: $(VENV)/.setup-dev ## Tell the system tens of thousands of things that are almost right
	SWITCHYARD_FUZZ_BODIES=40000 SWITCHYARD_FUZZ_REQUESTS=6000 $(BIN)/python -m pytest tests/fuzz $(ARGS)

check: $(VENV)/.setup-dev ## Lint, format, types and the dependency rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.setup-dev ## Bring the code into shape
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

LOCK := uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --universal \
	--python-version 3.11 pyproject.toml

lock: ## Renew both lock files from pyproject.toml (needs uv)
	$(LOCK) -o requirements.lock
	$(LOCK) --extra dev -o requirements-dev.lock

clean: ## Remove .venv and the caches; data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps say which folder they were made in: an environment that was moved or copied, or whose Python is gone, is made anew.
ifneq ($(wildcard $(VENV)/.made),)
ifneq ($(shell $(BIN)/python -c "" 2>/dev/null && cat $(VENV)/.made),$(HERE))
$(shell rm -f $(VENV)/.made $(VENV)/.setup $(VENV)/.setup-dev)
endif
endif

$(VENV)/.made:
	@found=; for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11." >&2; exit 1; fi; \
	if uv --version >/dev/null 2>&1; then pip=--without-pip; else pip=; fi; \
	echo "Creating $(VENV) with $$($$found --version)"; \
	$$found -m venv --clear $$pip $(VENV) || \
	  { echo "Could not create $(VENV). On Debian and Ubuntu: apt install python3-venv." >&2; exit 1; }
	@$(BIN)/python -c 'import pathlib, sysconfig; \
	  pathlib.Path(sysconfig.get_path("purelib"), "switchyard.pth").write_text("$(HERE)\n")'
	@printf '#!/bin/sh\nexec "%s/$(BIN)/python" -m workers.cli "$$@"\n' "$(HERE)" > $(BIN)/switchyard
	@chmod +x $(BIN)/switchyard
	@printf '%s\n' "$(HERE)" > $@

INSTALL = @if uv --version >/dev/null 2>&1; \
	then uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1); \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1); fi

$(VENV)/.setup: requirements.lock | $(VENV)/.made
	@echo "Installing requirements.lock (a minute or two the first time)"
	$(call INSTALL,requirements.lock)
	@touch $@

$(VENV)/.setup-dev: requirements-dev.lock | $(VENV)/.made
	@echo "Installing requirements-dev.lock (a minute or two the first time)"
	$(call INSTALL,requirements-dev.lock)
	@touch $(VENV)/.setup $@
