"""eibench_ray: large inference sweeps for benchmarks, as one plan on one cluster."""

__version__ = "0.1.0"
