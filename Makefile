# Two commands do everything on a fresh machine: `make stylize` and `make test`.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 10
SAMPLES := styleplugin/samples

.PHONY: help stylize app test slow environment clean

help:
	@echo "make stylize   make the environment and stylize a sample picture"
	@echo "make test      make the environment and run all checks"
	@echo "make slow      run the tests that take minutes, and write docs/slow.md"
	@echo "make app       make the environment and open the page in a browser"
	@echo "make clean     remove the environment"

stylize: environment
	$(BIN)/styleplugin stylize $(SAMPLES)/lake.jpg $(SAMPLES)/swirls.jpg -o out/lake-swirls.png --overwrite

app: environment
	$(BIN)/python -m gradio_app --open

test: environment
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/pytest -q -n auto

fuzz: environment
	PYTHONPATH=tests nice -n 19 $(BIN)/python -m fuzz.run --minutes $(MINUTES) --count 1000000000

slow: environment
	$(BIN)/python scripts/slow_tests.py

environment: $(VENV)/ready
	@mkdir -p out

# torch is pinned and comes first: left to itself, pip takes the newest build, with gigabytes of CUDA libraries.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --group dev -e ".[cli,hub,train,app]"
	touch $@

clean:
	rm -rf $(VENV)
