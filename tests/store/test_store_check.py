"""`eibench-ray fsck`: damage is found where it is, what is safe is repaired, and no answer is ever deleted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eibench_ray.cli.app import main
from eibench_ray.errors import StoreError
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.run_record import new_manifest, write_manifest
from eibench_ray.store.held_lease import hold
from eibench_ray.store.leases import LeaseFolder, new_lease
from eibench_ray.store.slice_store import Store
from eibench_ray.store.slice_summary import KEY
from eibench_ray.store.store_check import Repair, check_store, repair
from eibench_ray.store.store_version import SCHEMA_VERSION

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    """A store that is whole, with the manifest of its run."""
    return fill(sweeps)


def fill(sweeps: Sweeps, **sections: Any) -> PlannedSweep:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(**sections))
    sweeps.ask(sweep)
    manifest = new_manifest(sweep.plan, sweeps.folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    return sweep


def slice_of(sweep: PlannedSweep) -> Path:
    """The second slice of the first step."""
    return Path(sweep.store.paths.slice(next(iter(sweep.plan.steps)), 1))


def findings(store: Store) -> list[tuple[str, str, Repair | None, bool]]:
    checked = check_store(store, lambda *_: None)
    return [(Path(found.where).name, found.what, found.repair, found.is_problem) for found in checked.findings]


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def with_column(name: str, values: list[Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        return table.set_column(place, table.schema.field(name).with_nullable(True), pa.array(values, table[name].type))

    return change


def test_a_whole_store_has_no_finding_and_everything_was_read(sweep: PlannedSweep) -> None:
    told = []
    checked = check_store(sweep.store, lambda done, total: told.append((done, total)))
    assert (checked.num_steps, checked.num_slices, checked.num_rows, checked.findings) == (2, 6, 20, ())
    assert told[-1] == (6, 6)


def test_a_slice_that_was_interrupted_before_its_first_row_is_whole(sweep: PlannedSweep) -> None:
    sweep.store.write_slice(next(iter(sweep.plan.steps)), 1, [])
    assert findings(sweep.store) == []


def test_a_store_in_a_bucket_is_checked_and_repaired(sweeps: Sweeps, s3_root: str) -> None:
    sweep = fill(sweeps, store={"root": s3_root, "slice_rows": 4})
    store, step = sweep.store, next(iter(sweep.plan.steps))
    assert findings(store) == []
    store.storage.write(store.paths.slice(step, 1), b"damaged")
    checked = check_store(store, lambda *_: None)
    assert [found.repair for found in checked.findings] == [Repair.MOVE]
    repair(store, checked.findings)
    assert findings(store) == []
    assert store.storage.read(store.paths.damaged(step, "slice-000001.parquet")) == b"damaged"


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "flipped"])
def test_a_slice_that_cannot_be_read_is_moved_away_and_asked_again(
    sweeps: Sweeps, sweep: PlannedSweep, damage: str
) -> None:
    path = slice_of(sweep)
    whole = path.read_bytes()
    flipped = whole[:60] + bytes(byte ^ 0x5A for byte in whole[60:64]) + whole[64:]
    content = {"empty": b"", "truncated": whole[:-40], "text": b"hello", "flipped": flipped}[damage]
    path.write_bytes(content)
    checked = check_store(sweep.store, lambda *_: None)
    ((found,)) = checked.findings
    assert found.where == str(path)
    assert found.what.startswith("cannot be read (")
    assert found.remedy == "its rows are asked again once it is moved away"
    assert repair(sweep.store, checked.findings) == [found]
    assert not path.exists()
    assert Path(sweep.store.paths.damaged(path.parent.name, path.name)).read_bytes() == content
    assert findings(sweep.store) == []
    assert sum(left.num_rows - left.num_done for left in sweeps.plan().work.values()) == 8


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda table: table.drop_columns(["request_digest"]), "has no column request_digest"),
        (lambda table: table.append_column("mood", table["text"]), "has an unknown column mood"),
        (lambda table: table.drop_columns(["mean_logprob"]), "has no column mean_logprob"),
        (
            with_column("finish_reason", ["stop", "abort", "unknown", "abort"]),
            "3 answers that ended with abort, unknown",
        ),
        (
            lambda table: table.set_column(6, "prompt_tokens", table["prompt_tokens"].cast("int64")),
            "column prompt_tokens is int64, not int32",
        ),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "1 rows of samples that have another row"),
        (with_column("error_kind", ["tired", None, None, None]), "unknown kinds of errors: tired"),
        (with_column("text", [None, "a", "b", "c"]), "1 rows that are not one of an answer, an error, and absent"),
        (with_column("request_digest", ["", "a", "b", "c"]), "1 answers without the digest of their request"),
        (with_column("request_digest", ["a", "a", "b", "c"]), "1 answers with the request digest of another row"),
        (with_column("sample_id", [None, "a", "b", "c"]), "rows without sample_id"),
        (with_column("text", ["z", "a", "b", "c"]), "4 rows whose text is not what its digest says"),
        (with_column("output_digest", ["z", "a", "b", "c"]), "its summary is of other rows"),
    ],
)
def test_rows_that_no_run_writes_are_named_and_left_where_they_are(
    sweep: PlannedSweep, change: Callable[[pa.Table], pa.Table], what: str
) -> None:
    path = slice_of(sweep)
    rewrite(path, change)
    content = path.read_bytes()
    checked = check_store(sweep.store, lambda *_: None)
    assert what in [found.what for found in checked.findings]
    assert all("another program wrote it" in found.remedy for found in checked.findings if found.is_problem)
    assert all(found.is_problem and found.repair is None for found in checked.findings if what == found.what)
    assert repair(sweep.store, checked.findings) == []
    assert path.read_bytes() == content


def test_rows_that_have_left_a_slice_are_a_note(sweeps: Sweeps, sweep: PlannedSweep) -> None:
    sweeps.write_dataset(range(1, 10))
    sweeps.ask(sweeps.plan())
    found = findings(sweep.store)
    assert {what for _, what, _, _ in found} == {
        "1 rows of samples that have left this slice: its dataset lost or gained rows"
    }
    assert not any(is_problem for *_, is_problem in found)


def test_leftovers_of_kills_are_removed_unless_a_run_is_active(sweep: PlannedSweep) -> None:
    store, step = sweep.store, next(iter(sweep.plan.steps))
    left = [
        Path(store.paths.step(step)) / ".slice-000001.parquet.ab12.tmp",
        Path(store.paths.runs) / ".x.json.ab12.tmp",
        Path(store.paths.root) / ".writable.ab12.tmp",
        Path(store.paths.states) / ".x.json.ab12.tmp",
        Path(store.paths.leases) / ".x.json.ab12.tmp",
        Path(store.paths.tracked("cell")).parent / ".cell.json.ab12.tmp",
        Path(store.paths.batches("engine")) / ".batch.json.ab12.tmp",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with hold(store, "active", [step]):
        ((_, what, fix, is_problem),) = findings(store)
        assert what.endswith("is active: its steps are not repaired")
        assert (fix, is_problem) == (None, False)
    checked = check_store(store, lambda *_: None)
    assert {found.where for found in checked.findings} == {str(path) for path in left}
    with hold(store, "active", [step]), pytest.raises(StoreError, match="in use: run active"):
        repair(store, checked.findings)
    repair(store, checked.findings)
    assert not any(path.exists() for path in left)
    assert findings(store) == []


def test_a_store_that_is_itself_reached_through_a_link_is_repaired(sweep: PlannedSweep, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(sweep.store.root)
    store = Store(link)
    damaged = slice_of(sweep)
    num_rows, num_lost = check_store(store, lambda *_: None).num_rows, pq.read_metadata(damaged).num_rows
    damaged.write_bytes(b"no Parquet")
    checked = check_store(store, lambda *_: None)
    assert checked.num_rows == num_rows - num_lost
    [settled] = repair(store, checked.findings)
    assert settled.repair is Repair.MOVE
    assert not damaged.exists()
    assert Path(store.paths.damaged(damaged.parent.name, damaged.name)).read_bytes() == b"no Parquet"


@pytest.mark.parametrize("linked", ["a step", "the folder of steps", "the folder of damaged files"])
def test_no_repair_reaches_through_a_link(sweep: PlannedSweep, tmp_path: Path, linked: str) -> None:
    step, elsewhere = slice_of(sweep).parent, tmp_path / "elsewhere"
    place = {"a step": step, "the folder of steps": step.parent}.get(linked, Path(sweep.store.paths.root) / "damaged")
    place.mkdir(exist_ok=True)
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    (step / ".slice-000001.parquet.ab12.tmp").write_bytes(b"half")
    slice_of(sweep).write_bytes(b"no Parquet")
    before = sorted(elsewhere.rglob("*"))
    checked = check_store(sweep.store, lambda *_: None)
    if linked == "the folder of damaged files":
        with pytest.raises(StoreError, match=r"damaged/.* leads through a link to another place"):
            repair(sweep.store, checked.findings)
    else:
        assert repair(sweep.store, checked.findings) == []
        assert "is reached through a link: it is checked, and not repaired" in [one.what for one in checked.findings]
        assert any("cannot be read" in one.what and one.is_problem for one in checked.findings)
    assert sorted(elsewhere.rglob("*")) == before


def test_the_lease_of_a_dead_run_is_removed(sweep: PlannedSweep) -> None:
    for run_id in ("dead", "gone"):
        lease = new_lease(run_id, ["a"])
        LeaseFolder(sweep.store).write(replace(lease, started=lease.started - 1, renewal=3))
    checked = check_store(sweep.store, lambda *_: None)
    assert [found.what.endswith("is gone without releasing its lease") for found in checked.findings] == [True, True]
    repair(sweep.store, checked.findings)
    assert LeaseFolder(sweep.store).read() == []


def test_a_lease_that_is_none_is_named_and_left_where_it_is(sweep: PlannedSweep) -> None:
    path = Path(sweep.store.paths.lease("odd"))
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    ((_, what, fix, is_problem),) = findings(sweep.store)
    assert "odd.json" in what
    assert (fix, is_problem) == (None, True)


def test_what_does_not_fit_together_is_named(sweep: PlannedSweep) -> None:
    store, (first, second) = sweep.store, sweep.plan.steps
    Path(store.paths.manifest(first)).unlink()
    (Path(store.paths.step(second)) / "notes.txt").write_text("mine")
    (Path(store.paths.runs) / "broken.json").write_text("{")
    (Path(store.paths.runs) / "other.json").write_text("[]")
    store.fix_slice_rows("orphan", 4, {})
    found = {name: (what, fix, is_problem) for name, what, fix, is_problem in findings(store)}
    assert found[first] == ("3 slices without a manifest: nobody knows which rows they hold", None, True)
    assert found["notes.txt"] == ("is nothing that belongs to a step", None, True)
    assert "is not JSON" in found["broken.json"][0]
    assert found["other.json"] == ("is no manifest of a run", None, True)
    assert found["orphan"] == ("no run names this step", None, False)


def test_in_a_store_of_which_no_run_is_known_no_step_is_left_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.fix_slice_rows("step", 4, {})
    assert findings(store) == []


def test_a_run_that_names_steps_that_are_not_there_is_a_note(sweeps: Sweeps, sweep: PlannedSweep) -> None:
    other = sweeps.plan(sweeps.config(judge="second"))
    write_manifest(new_manifest(other.plan, sweeps.folder, other.config.store, other.config.score), sweep.store)
    ((_, what, fix, is_problem),) = findings(sweep.store)
    assert what == f"names steps that the store does not have: {other.plan.cells[0].verdicts[0]}"
    assert (fix, is_problem) == (None, False)


@pytest.mark.parametrize(
    ("steps", "said"), [("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), ("abcde", "a, b, c and 2 more")]
)
def test_of_many_steps_that_are_not_there_three_are_named(tmp_path: Path, steps: str, said: str) -> None:
    store = Store(tmp_path)
    store.storage.write_json(store.paths.run("r"), {"plan": {"steps": {step: {} for step in steps}}})
    ((_, what, _, _),) = findings(store)
    assert what == f"names steps that the store does not have: {said}"


def test_a_file_that_is_no_manifest_says_nothing_of_the_run_before_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.storage.write_json(store.paths.run("a"), {"plan": {"steps": {"gone": {}}}})
    store.storage.write_json(store.paths.run("b"), [])
    Path(store.paths.run("c")).write_text("{")
    assert [name for name, *_ in findings(store)] == ["a.json", "b.json", "c.json"]


@pytest.mark.parametrize(
    ("version", "remedy"),
    [(SCHEMA_VERSION - 1, "use the version that wrote it"), (SCHEMA_VERSION + 1, "update this program")],
)
def test_a_step_of_another_version_is_refused_with_what_to_do(sweep: PlannedSweep, version: int, remedy: str) -> None:
    manifest = Path(sweep.store.paths.manifest(next(iter(sweep.plan.steps))))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": version}))
    ((_, what, fix, is_problem),) = findings(Store(sweep.store.root))
    assert f"has schema version {version}, this program reads {SCHEMA_VERSION}: {remedy}" in what
    assert (fix, is_problem) == (None, True)


def test_a_footer_that_was_made_up_is_no_summary(sweeps: Sweeps, sweep: PlannedSweep) -> None:
    for metadata in ({KEY: b"{"}, {KEY: b'{"rows": 3}'}, {}):
        rewrite(slice_of(sweep), lambda table, known=metadata: table.replace_schema_metadata(known))
        with pytest.raises(StoreError, match="its footer says nothing of its rows"):
            sweeps.plan()
        assert [what for _, what, *_ in findings(sweep.store)] == ["its footer says nothing of its rows"]


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["eibench-ray", "fsck", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def test_the_command_repairs_says_what_is_left_and_exits_accordingly(
    sweep: PlannedSweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = sweep.store.root
    assert call(capsys, monkeypatch, root) == (0, f"{root}: 2 steps, 6 slices, 20 rows: no problem.\n")
    slice_of(sweep).write_bytes(b"damaged")
    code, said = call(capsys, monkeypatch, root)
    assert code == 1
    assert f"safe to repair: {slice_of(sweep)}: cannot be read" in said
    assert said.endswith("1 problems left; --repair settles 1.\n")
    code, said = call(capsys, monkeypatch, root, "--repair")
    assert code == 0
    assert f"repaired (move to damaged/): {slice_of(sweep)}" in said
    (slice_of(sweep).parent / "notes.txt").write_text("mine")
    code, said = call(capsys, monkeypatch, root, "--repair", "--json")
    answer = json.loads(said)
    assert code == 1
    assert [(found["is_problem"], found["repair"], found["repaired"]) for found in answer["findings"]] == [
        (True, None, False)
    ]
    assert (answer["store"], answer["slices"], answer["rows"]) == (root, 5, 16)


def test_a_folder_that_is_no_store_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    somebodys = tmp_path / ".note.tmp"
    somebodys.write_text("mine")
    for folder in (tmp_path / "nothing", tmp_path):
        code, said = call(capsys, monkeypatch, str(folder), "--repair")
        assert code == 2
        assert f"{folder} holds no store" in said
    assert somebodys.exists()


def test_absent_rows_are_as_whole_as_answers(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("asking"))
    reports = sweeps.ask(sweep, scripted(lambda _: "one line"))
    write_manifest(new_manifest(sweep.plan, sweeps.folder, sweep.config.store, sweep.config.score), sweep.store)
    assert findings(sweep.store) == []
    again = sweeps.plan(sweeps.config("asking"))
    assert again.is_complete
    assert sum(left.num_absent for left in again.work.values()) == sum(report.num_absent for report in reports) > 0
