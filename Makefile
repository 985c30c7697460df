# make demo: set up and run the main job.   make test: set up and test everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two more than there are cores, up to eight: many tests wait for messages between processes.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 7 ? n + 2 : 8)))
DURATIONS ?= 10

# A sourced ROS 2 serves everything; only where there is none do its wheels stand in.
ifdef AMENT_PREFIX_PATH
VENV_FLAGS := --system-site-packages
ROS :=
# The plugins of launch do not know later ones.
PYTEST := 'pytest<8.4'
else
ROS := ros,
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-ros test-noble test-all lint format clean

help:
	@echo 'make demo      a drive through all conditions: node, bags, contact sheet and report in demo/; a table'
	@echo 'make test      every test that runs on this machine in minutes (DURATIONS=20: the slowest 20)'
	@echo 'make test-ros  the tests of the node in a sourced workspace, with what is installed there'
	@echo 'make test-noble  what runs in a vehicle, with numpy, OpenCV and pytest of Ubuntu 24.04'
	@echo 'make test-all  the slow ones too'
	@echo 'make lint      ruff, mypy and the import laws        make format  ruff format'

demo: $(VENV)/.run-ready
	$(BIN)/dgss demo --output demo

# Containers often forbid to keep compiled modules; hundreds of processes load the same ones here.
test: $(VENV)/.test-ready
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 \
		--durations $(DURATIONS) $(PYTEST_ARGS)

# In a sourced workspace, with its Python: what is not installed skips.
test-ros:
	$(PYTHON) -m pytest test/ros $(PYTEST_ARGS)

# The versions of Ubuntu 24.04, without torch: what needs it skips.
test-noble:
	@echo 'Making .venv-noble'
	@$(PYTHON) -m venv .venv-noble
	@.venv-noble/bin/python -m pip install -qq --constraint .ci/noble.txt --constraint constraints.txt \
		--editable '.[$(ROS)test]'
	.venv-noble/bin/python -m pytest $(PYTEST_ARGS)

test-all: $(VENV)/.test-ready
	$(BIN)/python -m pytest --slow $(PYTEST_ARGS)

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build demo *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@echo 'Making $(VENV)'
	@$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	@$(BIN)/python -m pip install -qq --upgrade pip

$(VENV)/.run-ready: setup.py constraints.txt | $(BIN)/python
	@echo 'Installing what runs (about half a minute)'
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[$(ROS:,=)]'
	@touch $@

$(VENV)/.test-ready: setup.py constraints.txt | $(BIN)/python
	@echo 'Installing what trains and tests (torch: a few minutes)'
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[$(ROS)train,dev]' $(PYTEST)
	@touch $@ $(VENV)/.run-ready
