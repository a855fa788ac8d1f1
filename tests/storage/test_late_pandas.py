"""pandas stays out of a run's processes, and is there for who wants it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def pandas() -> None:
    """Not while tests are collected: 0.1 s of each process that does."""
    pytest.importorskip("pandas", reason="what is put off has to be there")


def run(script: str) -> str:
    """Output of a Python that has imported nothing before."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_a_replica_and_a_driver_load_no_pandas() -> None:
    script = (
        "import sys, pyarrow as pa, eibench_ray.worker.replica, eibench_ray.driver.driver, eibench_ray.runs.run_sweep\n"
        "pa.array(['x']); pa.table({'x': [1]}); print([name for name in ('pandas', 'scipy') if name in sys.modules])"
    )
    assert run(script) == "[]\n"


@pytest.mark.parametrize("before", ["import pandas as pd", "import importlib.util; importlib.util.find_spec('pandas')"])
def test_pyarrow_knows_a_series_whenever_pandas_was_imported(before: str) -> None:
    script = (
        "import eibench_ray.store.slice_store, pyarrow as pa, polars as pl\n"
        f"{before}\nimport pandas as pd\n"
        "found = pa.array(pd.Series([1.0, float('nan')])), pa.array(pd.Series(['a', None]))\n"
        "times = pl.from_pandas(pd.DataFrame({'x': pd.to_datetime(['2026-01-01', None])}))\n"
        "print([array.null_count for array in found], times['x'].null_count(), pa.table({'x': [1]}).to_pandas().shape)"
    )
    assert run(script) == "[1, 1] 1 (1, 1)\n"


def test_where_pandas_is_imported_already_nothing_changes() -> None:
    script = (
        "import sys, pandas as pd; before = list(sys.meta_path)\n"
        "import eibench_ray.storage.interface, pyarrow as pa\n"
        "print(sys.meta_path == before, pa.array(pd.Series([float('nan')])).null_count)"
    )
    assert run(script) == "True 1\n"
