# All the set-up there is. Needs Python >= 3.11 with venv; neither root nor Redis nor PostgreSQL.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Files of tests that run side by side; 0: one after the other.
AT_ONCE ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test check-code unit clean lock

run: $(VENV)/.run ## Start everything on this machine, with the sandbox and three sample alerts
	@$(BIN)/incident-bridge up --demo

test: check-code ## Everything: format, lint, types, imports, tests
	@$(BIN)/pytest -n $(AT_ONCE) --dist loadfile $(PYTEST_ARGS)

check-code: $(VENV)/.test
	@$(BIN)/ruff format --check bridge tests bench
	@$(BIN)/ruff check bridge tests bench
	@for system in linux darwin; do $(BIN)/mypy --platform $$system || exit 1; done
	@$(BIN)/lint-imports

unit: $(VENV)/.test ## The fast tests alone
	@$(BIN)/pytest tests/unit tests/contract

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Incident Bridge needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python deploy/requirements.lock pyproject.toml
	@$(PIP) install --require-hashes -r deploy/requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run deploy/requirements-dev.lock
	@$(PIP) install --require-hashes -r deploy/requirements-dev.lock
	@touch $@

lock: $(VENV)/bin/python ## Write the lock files anew, with hashes and without addresses
	@$(PIP) install uv
	@for what in "" -dev; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--no-emit-find-links --custom-compile-command "make lock" pyproject.toml --group build \
			$$( [ -n "$$what" ] && echo --group dev ) -o deploy/requirements$$what.lock; done

clean: ## Forget the virtual environment; var/ holds your data and stays
	@rm -rf $(VENV)
