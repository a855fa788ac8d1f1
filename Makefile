# make demo    set up, then run a real sweep to its leaderboard and its page
# make test    set up, then run the tests
# make check   format, lint, types, who imports whom, and the docs
# make docs    the docs as a site, in build/site
# make bench   the benchmarks, with their tables
# make chaos   a sweep under some forty faults, compared with an undisturbed one: three to six minutes
# make chaos-long   the same with vLLM and 200 faults, with tensor-parallel workers killed, and with a million rows and
#              2,000 faults: two hours
# make fuzz    the tests' properties on new examples, then what reads files, replies and command lines, each for FUZZ_SECONDS
# Needs Python 3.11 and make; nothing else. Everything is installed into .venv.

PYTHON ?= python3
# cpu or gpu: which compiled list of requirements is installed.
DEVICE ?= $(if $(shell command -v nvidia-smi 2>/dev/null),gpu,cpu)
BIN := .venv/bin
UV := .venv/uv/bin/uv
UV_VERSION := 0.13.9

# uv does not read pip's settings; the folder of wheels that pip knows, if any, may hold the CPU build of torch, which is
# nothing for GPUs.
FIND_LINKS := $(if $(filter cpu,$(DEVICE)),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null),)
export UV_FIND_LINKS ?= $(FIND_LINKS)
# Where there is no such folder, the CPU build comes from PyTorch's own index.
TORCH := $(if $(FIND_LINKS),,$(if $(filter cpu,$(DEVICE)),--torch-backend cpu,))

.PHONY: demo test check docs setup requirements wheel bench chaos chaos-long fuzz clean

demo: setup
	$(BIN)/eibench-ray run --open experiment=demo

test: setup
	$(BIN)/pytest -m "not alone" --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -m alone --durations 20

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(MAKE) docs

# The variable leaves out an advertisement of the theme's.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: setup
	$(BIN)/python bench/driver_rows.py
	$(BIN)/python bench/resume_rows.py
	$(BIN)/python -m bench.simulate_paper
	$(BIN)/python bench/endpoint_limits.py
	$(BIN)/python bench/endpoint_memory.py
	$(BIN)/python bench/engines.py

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
	$(BIN)/python -m compileall -q eibench_ray hydra_plugins
	touch $@

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

wheel: setup
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf .venv build dist
