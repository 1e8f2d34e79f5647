# Everything to build, try and check undergo. `make help` lists what there is.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BPF := src/undergo/bpf
OBJECT := $(BPF)/undergo.bpf.o
SOURCES := $(wildcard $(BPF)/*.c $(BPF)/*.h)

# The toolchains of `make test`; `make matrix` adds the ones between.
GO_TEST := 1.19 1.21.13 1.24.11 1.25.5 1.27.3
GO_MATRIX := 1.19 1.21.13 1.22.10 1.23.9 1.24.11 1.25.5 1.26.6 1.27.3
GO_DEMO := 1.27.3
# More arguments for pytest: make test TESTS=tests/unit ARGS='-x -k tree'
TESTS ?= tests
ARGS ?=
FUZZ_EXAMPLES ?= 2000

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) $(OBJECT) ## Install into .venv, for use and for development: .venv/bin/undergo

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "undergo needs Python 3.11 or later; make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "is python3-venv installed?" >&2; exit 1; }

# Not the interpreter's own date: that is the system's, behind a symbolic link.
$(STAMP): pyproject.toml hatch_build.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet 'ziglang>=0.13' 'hatchling>=1.24'
	$(BIN)/python -m pip install --quiet --no-build-isolation -e '.[dev]'
	@touch $@

# The installation compiles it too; this is for sources edited since.
$(OBJECT): $(SOURCES) | $(STAMP)
	$(BIN)/python hatch_build.py

.PHONY: bpf
bpf: $(STAMP) ## Compile the kernel side again
	$(BIN)/python hatch_build.py --force

.PHONY: demo
demo: install ## Trace the example shop, built with the newest Go
	GO="$$($(BIN)/python tools/toolchains.py --paths $(GO_DEMO))" && \
	PATH="$(CURDIR)/$(BIN):$$(dirname "$$GO"):$$PATH" GO="$$GO" GOTOOLCHAIN=local examples/demo.sh

# $(call pytest,toolchains,arguments)
define pytest
	go="$$($(BIN)/python tools/toolchains.py --paths $(1))" && \
	UNDERGO_GO="$$go" $(BIN)/python -m pytest $(2) $(ARGS)
endef

.PHONY: test
test: install ## Run the tests (those of the live kernel need root)
	@$(BIN)/python tools/prometheus.py
	@$(call pytest,$(GO_TEST),$(TESTS))

.PHONY: matrix
matrix: export UNDERGO_MATRIX = all
matrix: install ## Run the tests with every Go minor version from 1.19 to 1.27
	@$(BIN)/python tools/prometheus.py
	@$(call pytest,$(GO_MATRIX),$(TESTS))

# PySpark is 490 MB and wants Java 17, so it stays out of .venv.
.PHONY: fleet
fleet: install ## Ask the same questions of DuckDB and of Spark (needs Java; takes PySpark from PyPI)
	test -d .cache/spark/pyspark || $(BIN)/python -m pip install --quiet --target .cache/spark 'pyspark>=4,<5'
	PYTHONPATH=.cache/spark $(BIN)/python -m pytest tests/unit/analysis/test_spark.py $(ARGS)

.PHONY: fuzz
fuzz: export UNDERGO_FUZZ_EXAMPLES = $(FUZZ_EXAMPLES)
fuzz: install ## Try many more damaged inputs than the tests do
	@$(call pytest,$(GO_DEMO),tests/fuzz)

.PHONY: bench
bench: install ## Measure what tracing costs
	GO="$$($(BIN)/python tools/toolchains.py --paths $(GO_DEMO))" && \
	PATH="$(CURDIR)/$(BIN):$$(dirname "$$GO"):$$PATH" GO="$$GO" GOTOOLCHAIN=local bench/run.sh

.PHONY: lint
lint: install ## Check style and types of the Python and the style of the C
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/clang-format --dry-run --Werror $(SOURCES)

.PHONY: format
format: $(STAMP) ## Lay out the Python and the C as `make lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(SOURCES)

.PHONY: clean
clean: ## Remove everything that is not a source, but the Go toolchains
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache/gocache .cache/programs
	rm -f $(BPF)/*.o
	find . -name __pycache__ -type d -not -path './.cache/*' -prune -exec rm -rf {} +
