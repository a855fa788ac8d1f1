# make demo    set up, then run a real sweep to its leaderboard and its page
# make test    set up, then run the tests
# make test-quick   the tests of the pure core, and those of what git says has changed, without real engines and browsers:
#              90 s at most on two cores
# make check   format, lint, types, who imports whom, and the docs
# make docs    the docs as a site, in build/site
# make gpu-dry what vLLM would choose on GPUs, without one: compared with docs/gpu-settings.md (ARGS=--write writes it)
# make gpu-check   what only a machine with GPUs can show: at most seven minutes
# make bench   the benchmarks: results in bench/results (bench/README.md); one of them: make bench BENCH=replica_vs_chat
# make bench-check   runs those with ratios again, and compares them with the kept ones
# make bench-peers   the tools that they are compared with, each in an environment of its own
# make chaos   a sweep under some forty faults, compared with an undisturbed one: three to six minutes
# make chaos-long   the same with vLLM and 200 faults, with tensor-parallel workers killed, and with a million rows and
#              2,000 faults: two hours
# make fuzz    the tests' properties on new examples, then what reads files, replies and command lines, each for FUZZ_SECONDS
# Needs Python 3.11 and make; nothing else. Everything is installed into .venv.

PYTHON ?= python3
# cpu, gpu, or gpu-cuda12 for drivers below 580: which compiled list of requirements is installed.
DEVICE ?= $(if $(shell command -v nvidia-smi 2>/dev/null),gpu,cpu)
BIN := .venv/bin
UV := .venv/uv/bin/uv
UV_VERSION := 0.13.9

# uv does not read pip's settings: on a CPU, it is told of the folder of wheels that pip knows. For GPUs a folder that holds
# the CPU build of torch is left out, also where UV_FIND_LINKS names it: uv takes 2.13.0+cpu for newer than 2.13.0.
FIND_LINKS := $(if $(filter cpu,$(DEVICE)),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null),)
export UV_FIND_LINKS ?= $(FIND_LINKS)
ifneq ($(if $(filter gpu%,$(DEVICE)),$(wildcard $(UV_FIND_LINKS)/torch-*+cpu*),),)
UV_FIND_LINKS :=
endif
# Where there is no such folder, the CPU build comes from PyTorch's own index.
TORCH := $(if $(FIND_LINKS),,$(if $(filter cpu,$(DEVICE)),--torch-backend cpu,))

.PHONY: gpu-dry gpu-check demo test test-quick check docs setup requirements wheel bench bench-check bench-peers chaos chaos-long fuzz clean

demo: setup
	$(BIN)/eibench-ray run --open experiment=demo

# One more than two cores: what is killed or preempted is waited for. A worker with its Ray and vLLM takes up to 3 GB.
TEST_WORKERS ?= 3

test: setup
	$(BIN)/pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations 30

test-quick: setup
	$(BIN)/pytest -q -m "not slow and not browser" --numprocesses 2 $$($(BIN)/python scripts/quick_tests.py)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(MAKE) docs

# The variable leaves out an advertisement of the theme's.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

BENCH ?= replica_vs_chat sweep_race engines driver_rows resume_rows score_cells simulate_paper endpoint_limits \
  endpoint_memory

bench: setup bench-peers
	set -e; for name in $(BENCH); do $(BIN)/python -m bench.$$name $(ARGS); done

bench-check: setup bench-peers
	$(BIN)/python -m bench.check $(ARGS)

PEERS := .venv/peers

bench-peers: $(PEERS)/vllm/installed $(PEERS)/inspect/installed

# The versions that pip would choose for what these name are those of the CPU list, where it has them.
$(PEERS)/%/installed: bench/peers/%.txt bench/peers/overrides.txt .venv/installed
	$(UV) venv --quiet --allow-existing --python $(BIN)/python $(PEERS)/$*
	$(UV) pip install --quiet --python $(PEERS)/$*/bin/python --compile-bytecode $(TORCH) --requirement $< \
	  --override bench/peers/overrides.txt $(if $(filter vllm,$*),--constraint requirements/cpu.txt)
	touch $@

# The CUDA build of vLLM in an environment of its own, also on a machine without GPUs: 10 GB.
GPU_DRY := .venv/gpu-dry

gpu-dry: $(GPU_DRY)/installed
	$(GPU_DRY)/bin/python -m bench.gpu_dry $(ARGS)

$(GPU_DRY)/installed: requirements/gpu.txt pyproject.toml .venv/installed
	test -x $(GPU_DRY)/bin/python || $(UV) venv --quiet --allow-existing --python $(PYTHON) $(GPU_DRY)
	UV_FIND_LINKS= $(UV) pip sync --quiet --python $(GPU_DRY)/bin/python requirements/gpu.txt
	$(UV) pip install --quiet --python $(GPU_DRY)/bin/python --no-deps --editable .
	touch $@

gpu-check: setup
	$(BIN)/python -m bench.gpu_check $(ARGS)

chaos: setup
	$(BIN)/python -m bench.chaos --rows 4000 --faults 30 --bucket-faults 6 --latency-s 0.2

chaos-long: setup
	$(BIN)/python -m bench.chaos --engine vllm --rows 12000 --faults 205 --bucket-faults 0 --endings 0.03 --minutes 60
	$(BIN)/python -m bench.chaos --engine vllm-tp --rows 1000 --faults 12 --bucket-faults 0 --minutes 30
	$(BIN)/python -m bench.chaos --rows 1000000 --faults 2000 --bucket-faults 0 --endings 0.05 --slice-rows 32 \
	  --batch 32 --latency-s 0.3 --minutes 150

FUZZ_SECONDS ?= 60

fuzz: setup
	$(UV) pip install --quiet --python $(BIN)/python --editable ".[fuzz]"
	$(BIN)/pytest -m hypothesis --hypothesis-profile=fresh --numprocesses 2
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS)

setup: .venv/installed

.venv/installed: requirements/$(DEVICE).txt pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] >= (3, 11), "eibench_ray needs Python 3.11 or newer"'
	test -x $(UV) || { $(PYTHON) -m venv .venv/uv && .venv/uv/bin/pip install --quiet uv==$(UV_VERSION); }
	test -x $(BIN)/python || $(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --compile-bytecode $(TORCH) requirements/$(DEVICE).txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(if $(filter gpu%,$(DEVICE)),$(BIN)/python -c "$$CHECK_CUDA",)
	$(BIN)/python -m compileall -q eibench_ray hydra_plugins
	touch $@

define CHECK_CUDA
import importlib.util, pathlib, sys
found = pathlib.Path(importlib.util.find_spec("torch").origin).parent / "lib" / "libtorch_cuda.so"
sys.exit(0 if found.exists() else "torch is a build for CPUs: unset UV_FIND_LINKS, remove .venv, and run make setup again")
endef
export CHECK_CUDA

# Compiled lists of versions with the hashes of their files, which `make setup` verifies. The CPU list leaves out what
# belongs to CUDA torch. torch, torchvision and triton have no hash there: they come from a folder of wheels or from PyTorch's own
# index, whose files for each Python and platform are not known here; their versions are fixed.
EXTRAS := $(foreach extra,coherence demo dev mlflow tensorboard dashboards docs,--extra $(extra))

requirements: setup
	UV_CUSTOM_COMPILE_COMMAND="make requirements" $(UV) pip compile --quiet pyproject.toml --extra cpu $(EXTRAS) \
	  --override requirements/cpu-overrides.txt --python-version 3.11 --generate-hashes --output-file requirements/cpu.txt
	sed -i -E '/^(torch|torchvision|triton)==/,/# via/{s/ \\$$//;/--hash=/d}' requirements/cpu.txt
	UV_FIND_LINKS= UV_CUSTOM_COMPILE_COMMAND="make requirements" $(UV) pip compile --quiet pyproject.toml --extra gpu $(EXTRAS) \
	  --override requirements/gpu-overrides.txt --python-version 3.11 --python-platform linux --generate-hashes \
	  --output-file requirements/gpu.txt
	UV_FIND_LINKS= UV_CUSTOM_COMPILE_COMMAND="make requirements" $(UV) pip compile --quiet pyproject.toml \
	  requirements/gpu-cuda12.in $(EXTRAS) --override requirements/gpu-overrides.txt --python-version 3.11 \
	  --python-platform linux --generate-hashes --output-file requirements/gpu-cuda12.txt

wheel: setup
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf .venv build dist
