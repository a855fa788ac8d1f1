"""Settings that vLLM's CUDA build chooses on GPUs, for every model option, without a GPU.

    make gpu-dry [ARGS="--write"]

The planner places each option on a node of eight A100, H100 or H200, and a replica's own arguments become vLLM's
configuration, by vLLM's code for CUDA: the driver's library is a stub that knows no device, and the platform's few
questions about the device are answered here (`stand_in.py`). No weights are read: a checkpoint is its `config.json`,
made by transformers from the published shape (`shapes.json`), and a tokenizer. What only a device can tell (memory
after loading, speed) is not here.

Writes docs/gpu-settings.md with --write, else compares it: exit code 1 where it differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.gpu_dry.choices import Chosen, choose_for
from bench.gpu_dry.settings_page import PAGE, read_table, render, write_table
from bench.gpu_dry.stand_in import GPUS, make_driver
from eibench_ray.engines.python_environment import vllm_version


def main() -> None:
    """Compares or writes the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_dry", description="What vLLM would choose on GPUs.")
    parser.add_argument("--write", action="store_true", help="write docs/gpu-settings.md")
    parser.add_argument("--gpu", choices=GPUS, help="only print the rows of one GPU, as JSON")
    args = parser.parse_args()
    installed = vllm_version()
    if installed is None or installed[1] != "cuda":
        known = installed[0] if installed else "no vLLM"
        sys.exit(f"this Python has {known}, and vLLM for CUDA is needed: make gpu-dry")
    if args.gpu:
        print(json.dumps([asdict(row) for row in choose_for(GPUS[args.gpu])]))
        return
    with tempfile.TemporaryDirectory(prefix="gpu_dry_") as folder:
        make_driver(Path(folder))
        rows = [row for gpu in GPUS for row in ask_apart(gpu, Path(folder))]
    table = render(rows)
    if args.write:
        write_table(table)
    elif read_table() != table:
        print(table)
        sys.exit(
            f"vLLM would choose other settings than {PAGE} says (above): look at them, then make gpu-dry ARGS=--write"
        )


def ask_apart(gpu: str, driver: Path) -> list[Chosen]:
    """The rows of one GPU, from a process of its own: vLLM asks for its platform once."""
    # vLLM sets its logging up with an engine, and would take away who listens.
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(driver),
        "VLLM_CONFIGURE_LOGGING": "0",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "bench.gpu_dry", "--gpu", gpu]
    asked = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [Chosen(**row) for row in json.loads(asked.stdout.splitlines()[-1])]


if __name__ == "__main__":
    main()
