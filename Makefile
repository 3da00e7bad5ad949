# tinykit: `make demo` and `make lab` are all a newcomer needs; `make help` lists the rest.
# Works with the make that macOS ships (3.81).

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
DEBS := chromium gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm dataset-fashion-mnist
WORKERS ?= 2
CORES ?= cortex-m0plus cortex-m3 cortex-m4 cortex-m7 cortex-m33 cortex-m55
# Further models whose layers the tables of schedules are to know.
MODELS ?= $(or $(TINYKIT_MODELS),../shared/models)
# Where pip finds a CPU build of torch, if its usual index has none: make demo TORCH_INDEX=<url>
ifdef TORCH_INDEX
export PIP_EXTRA_INDEX_URL := $(TORCH_INDEX)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo lab app test check debs lessons sweeps schedules bench pins clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*  ## ' Makefile | sed 's/:.*  ## /	/' | expand -t 10

demo: $(VENV)/.core  ## the main job: compress, quantize, run on an emulated chip, report, serve
	@$(BIN)/tinykit demo

lab: $(VENV)/.core  ## JupyterLab on the lessons
	@$(BIN)/tinykit lab notebooks

app: $(VENV)/.core  ## the explorer in a browser
	@$(BIN)/tinykit app

test: $(VENV)/.dev debs  ## style, types, drift, unit tests, notebooks, browser tests
	@status=0; $(MAKE) --no-print-directory check || status=1; \
	  [ $$status = 0 ] || echo 'make check failed (see above); the tests run all the same'; \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=10 \
	    --nbval-lax tests notebooks/*.ipynb tutorials/*.ipynb || status=$$?; \
	  exit $$status

check: $(VENV)/.dev  ## ruff, mypy, lessons against their sources
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tinykit.course check

lessons: $(VENV)/.dev  ## regenerate the notebooks from their sources
	@$(BIN)/python -m tinykit.course build

sweeps: $(VENV)/.dev  ## recompute the tables that ship with the explorers (long)
	@$(BIN)/python -m tinykit.explore.sweep

# A row for each layer shape of the models that ship, and of those in MODELS; other rows are kept.
# On a Cortex-M4 cycles count, on a board whose flash is slow: fewest instructions are had by code
# that its caches cannot hold.
schedules: $(VENV)/.dev debs  ## search the tables of kernel schedules that ship (minutes)
	@compiler=$$(command -v arm-none-eabi-gcc >/dev/null && echo gcc || echo zig); \
	for core in $(CORES); do \
	  echo "$$core with $$compiler"; \
	  on="--core $$core"; [ $$core != cortex-m4 ] || on="--board stm32l4r5 --objective cycles"; \
	  $(BIN)/tinykit tune datasets/models/*.tflite tinykit/explore/models/*.tflite \
	    tinykit/course/models/*_int8.tflite \
	    $(wildcard $(MODELS)/*.tflite) $$on --toolchain $$compiler \
	    --out tinykit/engine/schedules/$$core.json || exit 1; \
	done

bench: $(VENV)/.dev debs  ## every figure that the project states, measured
	@$(BIN)/python -m tests.benchmarks

pins: $(VENV)/.dev  ## write constraints.txt from what is installed
	@{ echo '# Exact versions that were tested together (make pins).'; \
	  $(BIN)/pip freeze --all --exclude-editable --exclude pip --exclude wheel \
	    | sed -e 's/+cpu$$//' -e '/ @ /d' | LC_ALL=C sort -f; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean:  ## remove what the targets made, .venv included
	rm -rf $(VENV) build dist report *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# -- installing -------------------------------------------------------------------------------------

# pip's own output goes to a log; one line tells how far it is.
define install
	@echo 'Installing $(2) into $(VENV) (log: $(VENV)/install.log) ...'
	@set -o pipefail; $(BIN)/python -m pip install --no-compile --progress-bar off \
	  -c constraints.txt -e '$(1)' 2>&1 | tee $(VENV)/install.log \
	  | awk -v tty="$$([ -t 1 ] && echo 1)" ' \
	      /^ *Downloading |^Using cached |^Collecting / { n++; what = $$2; sub(/^.*\//, "", what) } \
	      /^Installing collected/ { what = "unpacking"; printf "%s  unpacking%60s\n", tty ? "\r" : "", ""; next } \
	      tty { printf "\r  %d steps, %-60.60s", n, what; fflush(); next } \
	      n >= told + 40 { told = n; printf "  %d steps, %s\n", n, what; fflush() }' \
	  || { tail -n 15 $(VENV)/install.log; \
	       echo 'The installation failed: the lines above say why. Then run the same command again.'; \
	       exit 1; }
endef

$(BIN)/python:
	@found=; for p in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	    if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' >/dev/null 2>&1; \
	    then found=$$p; break; fi; done; \
	  if [ -z "$$found" ]; then \
	    echo 'tinykit needs Python 3.11 or newer and found none on the path.'; \
	    echo 'Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.12'; \
	    echo 'or name one: make demo PYTHON=/path/to/python3'; exit 1; fi; \
	  if ! $$found -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	    echo "$$found lacks the venv module. Debian, Ubuntu: apt-get install python3-venv"; exit 1; fi; \
	  echo "Making $(VENV) with $$($$found --version)"; $$found -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,.,tinykit and what it needs)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,.[dev],tinykit with the tools for its tests)
	@touch $@ $(VENV)/.core

# Debian packages that the tests use: installed where that is allowed, named where it is not.
debs:
	@command -v dpkg >/dev/null || { \
	  echo 'Not Debian or Ubuntu: browser tests need chromium or Chrome; tests of the gcc and QEMU path'; \
	  echo 'need arm-none-eabi-gcc and qemu-system-arm. Those that lack theirs are skipped.'; exit 0; }; \
	missing=$$(for p in $(DEBS); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done | xargs); \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as=sudo; else \
	  echo "For all tests, install these Debian packages (the tests that lack theirs are skipped):"; \
	  echo "  sudo apt-get install $$missing"; exit 0; fi; \
	echo "Installing Debian packages: $$missing"; \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get -q update >/dev/null 2>&1; \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing \
	  >$(VENV)/apt.log 2>&1 || { tail -n 5 $(VENV)/apt.log; \
	  echo "apt-get could not install: $$missing"; }
