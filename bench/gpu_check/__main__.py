"""Checks of a machine with GPUs: what only a GPU can show, in at most seven minutes.

    python -m bench.gpu_check [--checkpoint tiny_llama] [--only NAME ...] [--minutes 7]

Each check runs in a process of its own with a deadline, so that one which hangs or dies costs the others nothing. One
that cannot run is skipped, and says what it lacks: those of memory need torch alone, those of transformers pydantic and
omegaconf, too, and those of vLLM the whole package. Nothing is fetched: checkpoints are built here, or are folders.

| check | shows | on a CPU |
|---|---|---|
| devices | memory as the driver and torch read it, and whether they agree | skipped |
| killed_child | a process that held memory is killed: how long until its memory is seen free | skipped |
| same_tokens | transformers on CUDA says what it says on the CPU, token by token, in float32 | skipped |
| halved_batches | a batch that the memory is too small for is halved, and every row gets its reply | skipped |
| masks | microseconds of xgrammar's mask of a token, with and without a longest text in the schema | runs |
| pictures | pictures per second through transformers | runs |
| vllm_loads | seconds of loads that compile, that find it compiled, two side by side | compiles each time |
| vllm_batches | tokens per second by requests in a batch, and with steps of 2,048 tokens | smaller batches |
| vllm_tensor_parallel | two GPUs for one replica | skipped |

Writes bench/results/gpu_check.json; exit code 1 where a check failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from bench.gpu_check.check_process import run_apart, run_here
from bench.gpu_check.check_table import CHECKS
from bench.result_file import write_result


def main() -> None:
    """Runs the checks one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description="Check a machine with GPUs.")
    parser.add_argument("--checkpoint", default="tiny_llama", help="for masks and vLLM: a recipe's name, or a folder")
    parser.add_argument("--only", nargs="*", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--minutes", type=float, default=7.0, help="for all checks together")
    parser.add_argument("--child", choices=CHECKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(run_here(args.child, args.checkpoint)))
        return
    ends = time.monotonic() + args.minutes * 60
    lines = [run_apart(name, args.checkpoint, ends - time.monotonic()) for name in args.only]
    write_result("gpu_check", {"checkpoint": args.checkpoint, "minutes": args.minutes}, lines)
    sys.exit(any(line["status"] == "failed" for line in lines))


if __name__ == "__main__":
    main()
