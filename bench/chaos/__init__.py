"""Chaos: a sweep on a real Ray cluster while everything under it is killed, stopped, filled up and cut off.

    python -m bench.chaos [--engine echo|vllm] [--rows N] [--faults N] [--seed N] [--minutes N] [--keep]

The sweep is asked once in peace, then again into another store under a schedule of faults, by the same command, again
and again until it exits with 0. Then both stores are compared, row for row.

| module | holds |
|---|---|
| `cluster` | the Ray cluster: a head and nodes as processes of their own, killed and started again |
| `sweep` | the command, its options, and one run of it |
| `hook` | what counts requests where they go to an engine, and shifts a clock |
| `peace` | the undisturbed run |
| `deck`, `storm` | which fault comes when, by a seed; how they are carried out |
| `weights` | which kinds come where, and how often |
| `kinds`, `kills`, `disks`, `damage`, `bucket` | the kinds of faults |
| `rows`, `remains`, `verdict` | what came out: rows, what is left of processes and reservations, the promises |
"""
