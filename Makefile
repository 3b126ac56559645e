# Targets work in a fresh clone: each makes its virtual environment first.
PYTHON ?= python3
VENV ?= .venv
OPENCLIP_VENV ?= .venv-openclip
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := setup.py pyproject.toml constraints.txt $(wildcard ops/csrc/*)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: install demo test test-slow test-cuda test-openclip lint clean

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch comes first: the extension is compiled against the torch that is installed.
$(VENV)/.installed: $(SOURCES) | $(VENV)/bin/python
	$(PIP) install -c constraints.txt torch setuptools wheel ninja
	$(PIP) install -c constraints.txt --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -c constraints.txt --no-build-isolation -e .[dev]
	touch $@

install: $(VENV)/.installed  ## virtual environment with vdit and its compiled op

demo: install  ## render a clip, segment it by text, score the answer
	$(BIN)/vdit demo -o demo

test: $(VENV)/.installed-dev  ## all tests below 10 seconds
	$(PYTEST) -n 2 -m "not slow and not cuda"

test-slow: $(VENV)/.installed-dev  ## trainings and full-size references
	$(PYTEST) -m slow

test-cuda: $(VENV)/.installed-dev  ## tests that need a CUDA device
	$(PYTEST) -m cuda

# Built in isolation, where torch is absent: the compiled op stays as $(VENV) made it.
$(OPENCLIP_VENV)/.installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OPENCLIP_VENV)
	VDIT_BUILD_ALLOW_ERRORS=1 $(OPENCLIP_VENV)/bin/python -m pip --disable-pip-version-check --quiet \
		install -c constraints.txt -e .[openclip] open-clip-torch==3.3.0 timm==1.0.31 \
		torchvision==0.28.0 pytest pytest-timeout
	touch $@

test-openclip: $(OPENCLIP_VENV)/.installed  ## the image tower of open_clip, in its own environment
	OMP_NUM_THREADS=1 $(OPENCLIP_VENV)/bin/python -m pytest --confcutdir=tests/openclip tests/openclip

lint: $(VENV)/.installed-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build dist demo *.egg-info ops/*.so
