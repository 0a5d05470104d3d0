# Two commands do everything on a fresh machine: `make stylize` and `make test`.

PYTHON ?= python3
TORCH ?= torch==2.13.0
# Options for every call of pip, for example those that lead to the CPU build of torch.
PIP_OPTIONS ?=
# 1: no torch is fetched; the environment sees the packages of PYTHON, torch among them.
SYSTEM_TORCH ?=
VENV := .venv
# Of torch in each of the processes that test: more than there are cores wait for each other at every layer.
THREADS ?= 1
BIN := $(VENV)/bin
MINUTES ?= 10
SAMPLES := styleplugin/samples

.PHONY: help stylize app test fuzz slow environment clean

help:
	@echo "make stylize   make the environment and stylize a sample picture"
	@echo "make test      make the environment and run all checks"
	@echo "make slow      run the tests that take minutes, and write docs/slow.md"
	@echo "make app       make the environment and open the page in a browser"
	@echo "make clean     remove the environment"
	@echo "Options: PYTHON=python3.12, SYSTEM_TORCH=1 (use the torch of that Python), PIP_OPTIONS=... (see README.md)"

stylize: environment
	$(BIN)/python -m styleplugin stylize $(SAMPLES)/lake.jpg $(SAMPLES)/swirls.jpg -o out/lake-swirls.png --overwrite

app: environment
	$(BIN)/python -m gradio_app --open

test: environment
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	$(BIN)/python -m pyright
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q -n auto

fuzz: environment
	PYTHONPATH=tests nice -n 19 $(BIN)/python -m fuzz.run --minutes $(MINUTES) --count 1000000000

slow: environment
	$(BIN)/python scripts/slow_tests.py

environment: $(VENV)/ready
	@mkdir -p out

# torch is pinned so that everybody computes with the same version. The pin does not choose the build: on Linux that of
# the index uses CUDA, with libraries of gigabytes.
$(VENV)/ready: pyproject.toml
ifeq ($(SYSTEM_TORCH),1)
	@echo "Making $(VENV) with the torch of $(PYTHON): up to 0.4 GB will be fetched for the other packages."
	@$(PYTHON) -c "import torch; print('torch', torch.__version__)"
else
	@echo "Making $(VENV). What will be fetched, unless pip has it already:"
	@echo "  $(TORCH): 0.2 GB; on Linux with CUDA libraries about 3 GB (5 GB on disk)"
	@echo "  all other packages: 0.4 GB"
	@echo "A torch that is there already: make ... PYTHON=... SYSTEM_TORCH=1. A CPU build: PIP_OPTIONS=... (README.md)"
endif
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade $(PIP_OPTIONS) pip
ifeq ($(SYSTEM_TORCH),1)
	$(PYTHON) scripts/share_packages.py $(BIN)/python
else
	$(BIN)/python -m pip install $(PIP_OPTIONS) "$(TORCH)"
endif
	$(BIN)/python -m pip install $(PIP_OPTIONS) --group dev -e ".[cli,hub,train,app]"
	touch $@

clean:
	rm -rf $(VENV)
