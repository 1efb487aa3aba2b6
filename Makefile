# make demo: install everything, train a small model on synthetic data, draw a canopy-height map.
# make test: install everything, lint, run the tests; make test-all: the slow ones too.
# Needs Python >= 3.11, make and git. PYTHON=python3.12 make test chooses another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROJECTS := $(wildcard pyproject.toml plugins/*/pyproject.toml)
# One OpenMP thread: two threads on a busy two-core machine can be 20 times slower than one.
export OMP_NUM_THREADS ?= 1
# Forty processes of the tests import the zoo: without bytecode each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

# A virtual environment works only where it was made: one from another place or interpreter is stale.
IDENTITY := $(CURDIR) $(shell $(PYTHON) -c 'import sys; print(sys.version.split()[0])')

.PHONY: demo test test-all lint format env real reproduce bench pins clean

demo: env
	$(BIN)/eozoo demo gedi_sparse --out demo

test: env lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: env lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: env
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: env
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

# All that is measured on the real data beside the clone (../shared), two stages at a time; writes the docs' tables.
real: env
	$(BIN)/python -m benchmarks.real

# Published numbers, computed again from published weights and data beside the clone (docs/reproduced.md).
reproduce: env
	$(BIN)/python -m benchmarks.reproduce

# Trains every task briefly with the code of OLD and of NEW, and compares all that they compute: tests/pins.py.
NEW ?= HEAD
pins: env
	@[ -n "$(OLD)" ] || { echo "give the commit to compare with: make pins OLD=<commit> [NEW=<commit>]"; exit 2; }
	$(BIN)/python tests/pins.py both $(OLD) $(NEW)

bench: env
	$(BIN)/python -m benchmarks

env: $(READY)

ifneq ($(shell cat $(READY) 2>/dev/null),$(IDENTITY))
.PHONY: $(READY)
endif
$(READY): $(PROJECTS) Makefile
	@$(PYTHON) -c 'import sys; sys.exit("eozoo needs Python 3.11 or newer; try PYTHON=python3.12 make ..." if sys.version_info < (3, 11) else 0)'
	@[ "$$(cat $(READY) 2>/dev/null)" = "$(IDENTITY)" ] || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]' $(foreach p,$(filter plugins/%,$(PROJECTS)),-e ./$(dir $(p)))
	@printf '%s' "$(IDENTITY)" > $(READY)

clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .hypothesis
