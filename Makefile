# Every target sets up what it needs in .venv, from the exact versions and hashes of
# requirements.txt; nothing is installed anywhere else. `make lock` refreshes that file from
# pyproject.toml (the one step that picks versions; uv lives in a throwaway folder meanwhile).

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/ready
PIP := -m pip --disable-pip-version-check --quiet

.PHONY: help serve demo test check bench binary screenshots lock clean

help:
	@echo 'make serve       run the daemon'
	@echo 'make demo        watch lq at work, in under 20 seconds'
	@echo 'make test        run the whole test suite (ARGS="-k push" for a part)'
	@echo 'make check       lint, format and type checks'
	@echo 'make bench       measure lq against its own limits on this machine'
	@echo 'make binary      build dist/lq, a single file that needs no Python'
	@echo 'make screenshots take the pictures of the panel in docs/images'
	@echo 'make lock        refresh requirements.txt from pyproject.toml'
	@echo 'make clean       remove .venv and the caches'

serve: $(READY)
	@exec $(BIN)/lq serve

demo: $(READY)
	@exec $(BIN)/python -m demo

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m tests.bench $(ARGS)

# The stamp is written last: an interrupted set-up is begun anew, never taken for a finished one.
$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo 'lq needs Python 3.11 or newer; install it, or name it: make PYTHON=/path/to/python' >&2; exit 1; }
	@echo 'Setting up .venv (once) ...'
	@$(PYTHON) -m venv --clear .venv || { echo 'This Python lacks its venv module; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(BIN)/python $(PIP) install --require-hashes --requirement requirements.txt
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(READY)

# One file with a Python and everything else in it; PyInstaller reads libraries with objdump.
binary: $(READY)
	@command -v objdump >/dev/null || { echo 'objdump is missing; on Debian and Ubuntu: apt install binutils' >&2; exit 1; }
	@$(BIN)/python packaging/build.py dist/lq

screenshots: $(READY)
	@$(BIN)/python -m tests.screenshots $(ARGS)

lock:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PYTHON) -m venv "$$folder" && "$$folder/bin/python" $(PIP) install uv && \
	"$$folder/bin/uv" pip compile --quiet --universal --generate-hashes --group dev \
		--custom-compile-command 'make lock' --output-file requirements.txt --upgrade pyproject.toml

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
