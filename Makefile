# make demo: set up and run the main job. make test: set up and pass the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM := libopencv-dev libturbojpeg0-dev pkg-config g++

.PHONY: demo test test-gpu test-slow bench docs lint setup system clean

demo: setup
	$(BIN)/raykd train recipes/digits/supervised.py
	$(BIN)/raykd train recipes/digits/kd.py

# Two processes at a time, whole files each: files share fixtures, and more processes would fight for memory.
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-gpu: setup
	$(BIN)/python -m pytest tests/gpu

test-slow: setup
	$(BIN)/python -m pytest -m slow

bench: setup
	$(BIN)/python -m tests.bench $(ARGS)

docs: setup
	$(BIN)/python -m tests.documents.reference build/docs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# What FFCV builds with. Installed where it is missing and where that is allowed.
system:
	@missing=$$(dpkg-query --version >/dev/null 2>&1 && for p in $(SYSTEM); do \
	    dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || printf '%s ' $$p; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as=sudo; else \
	    echo "FFCV needs the system packages $$missing: ask for 'apt-get install $$missing', then run make again" >&2; exit 1; fi; \
	echo "installing $$missing"; $$as apt-get update -qq && \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

clean:
	rm -rf $(VENV)
