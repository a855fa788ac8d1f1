import json
import runpy
from collections import Counter
from pathlib import Path

import pytest

from eibench_ray.benchmarks.eibench.importer import prepare_eibench
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.errors import DataError

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / ".." / "shared" / "eibench"

BASIC = {
    "CAER-S/train/Angry/1.png": ("Why is he so loud?", "1. A broken cup.\n2. Noise."),
    "CAER-S/train/Happy/2.png": ("Why does she laugh?", "1. A joke."),
    "EmoSet-118k/image/sadness/3.jpg": ("Why does he cry?", "1. Rain.\n2. A farewell.\n3. "),
}
COMPLEX = [
    ("EmoSet-118k/image/anger/4.jpg", "Why is she angry?", "1. A dent."),
    ("EmoSet-118k/image/anger/4.jpg", "Why is he amused?", "1. Her face.\n2. The dent."),
]


def write_clone(folder: Path) -> Path:
    basic, complex_ = folder / "EIBench" / "EI_Basic", folder / "EIBench" / "EI_Complex"
    for made in (basic, complex_):
        made.mkdir(parents=True)
    lines = [json.dumps({path: question}) for path, (question, _) in BASIC.items()]
    (basic / "user.jsonl").write_text("\n".join(lines), encoding="utf-8")
    references = {path: reference for path, (_, reference) in BASIC.items()}
    (basic / "basic_ground_truth.json").write_text(json.dumps(references), encoding="utf-8")
    asked = [json.dumps({path: {question: reference}}) for path, question, reference in COMPLEX]
    (complex_ / "ec_complex.jsonl").write_text("\n".join(asked), encoding="utf-8")
    return folder


def write_pictures(folder: Path) -> Path:
    for path in (*BASIC, *(path for path, _, _ in COMPLEX)):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return write_clone(tmp_path / "clone")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def test_both_subsets_are_prepared(clone: Path, pictures: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    report = prepare_eibench(clone, [pictures], tmp_path / "out", on_row=lambda done, total: seen.append((done, total)))
    assert [card.rows for _, card in report.datasets] == [3, 2]
    assert seen[-1] == (5, 5)
    basic = open_dataset(str(tmp_path / "out" / "eibench_basic"))
    samples = basic.samples(0, 3)
    assert [sample.sample_id for sample in samples][:2] == ["CAER-S/train/Angry/1", "CAER-S/train/Happy/2"]
    assert [sample.metadata["emotion"] for sample in samples] == ["angry", "happy", "sadness"]
    assert [sample.metadata["source"] for sample in samples] == ["CAER-S", "CAER-S", "EmoSet-118k"]
    assert samples[2].target == ("Rain.", "A farewell.")
    assert samples[2].metadata["reference"] == "1. Rain.\n2. A farewell.\n3. "
    assert basic.images(0, 3, [samples[1].sample_id]) == {samples[1].sample_id: (b"CAER-S/train/Happy/2.png",)}
    complex_ = open_dataset(str(tmp_path / "out" / "eibench_complex")).samples(0, 2)
    assert len({sample.sample_id for sample in complex_}) == 2
    assert {sample.media for sample in complex_} == {complex_[0].media}
    assert {sample.metadata["emotion"] for sample in complex_} == {"complex"}


def test_one_subset_alone_needs_only_its_own_files(clone: Path, pictures: Path, tmp_path: Path) -> None:
    (clone / "EIBench/EI_Complex/ec_complex.jsonl").unlink()
    prepare_eibench(clone, [pictures], tmp_path / "out", subset="basic")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["eibench_basic"]
    with pytest.raises(DataError, match=r"ec_complex\.jsonl"):
        prepare_eibench(clone, [pictures], tmp_path / "out")


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_written(
    clone: Path, pictures: Path, tmp_path: Path
) -> None:
    questions = clone / "EIBench/EI_Basic/user.jsonl"
    lines = [
        "{not json",
        '["a list"]',
        json.dumps({"CAER-S/train/Angry/1.png": "Asked again?"}),
        json.dumps({"CAER-S/train/Angry/99.png": "Who knows?"}),
        json.dumps({"CAER-S/../../secret.png": "What is there?"}),
        json.dumps({"CAER-S/train/Angry/5.png": 7}),
        '{"CAER-S/train/Angry/6.png": "half a pair: \\ud800"}',
    ]
    questions.write_text(questions.read_text() + "\n" + "\n".join(lines), encoding="utf-8")
    references = clone / "EIBench/EI_Basic/basic_ground_truth.json"
    known = json.loads(references.read_text())
    for path in ("CAER-S/../../secret.png", "CAER-S/train/Angry/5.png", "CAER-S/train/Angry/6.png"):
        known[path] = "1. A reason."
    references.write_text(json.dumps(known), encoding="utf-8")
    (pictures / "CAER-S/train/Happy/2.png").unlink()
    with pytest.raises(DataError) as caught:
        prepare_eibench(clone, [pictures], tmp_path / "out")
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    for part in (
        "malformed, 4: user.jsonl:4 (not JSON",
        "user.jsonl:5 (not an object",
        "user.jsonl:9 (CAER-S/train/Angry/5)",
        "user.jsonl:10 (CAER-S/train/Angry/6)",
        "named twice, 1: user.jsonl:6 (CAER-S/train/Angry/1), as in user.jsonl:1",
        "sample without target, 1: user.jsonl:7 (CAER-S/train/Angry/99)",
        "leaves the picture folders, 1: CAER-S/../../secret.png",
        "picture not found, 1: CAER-S/train/Happy/2.png",
    ):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_a_reference_that_is_named_twice_is_a_problem(clone: Path, pictures: Path, tmp_path: Path) -> None:
    references = clone / "EIBench/EI_Basic/basic_ground_truth.json"
    first = next(iter(BASIC))
    references.write_text(references.read_text().replace("{", f'{{"{first}": "1. Another.", ', 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"named twice, 1: basic_ground_truth\.json"):
        prepare_eibench(clone, [pictures], tmp_path / "out")


def test_a_long_list_of_missing_pictures_is_cut(clone: Path, pictures: Path, tmp_path: Path) -> None:
    many = {f"CAER-S/train/Angry/{number}.png": "Why?" for number in range(100, 150)}
    questions = clone / "EIBench/EI_Basic/user.jsonl"
    questions.write_text("\n".join(json.dumps({path: question}) for path, question in many.items()), encoding="utf-8")
    references = clone / "EIBench/EI_Basic/basic_ground_truth.json"
    references.write_text(json.dumps(dict.fromkeys(many, "1. A reason.")), encoding="utf-8")
    with pytest.raises(DataError, match=r"picture not found, 50: .*, and 30 more"):
        prepare_eibench(clone, [pictures], tmp_path / "out")


def test_missing_pictures_can_be_left_out_and_are_counted(clone: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "CAER-S/train/Happy/2.png").unlink()
    report = prepare_eibench(clone, [pictures], tmp_path / "out", allow_missing_images=True)
    assert [(card.rows, card.left_out) for _, card in report.datasets] == [(2, 1), (2, 0)]
    card = json.loads((tmp_path / "out/eibench_basic/dataset.json").read_text())
    assert card["left_out"] == 1


def test_without_any_picture_nothing_is_written(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no sample"):
        prepare_eibench(clone, [tmp_path / "empty"], tmp_path / "out", allow_missing_images=True)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs EIBench's annotations in ../shared/eibench")
def test_the_published_annotations_are_prepared_whole_and_the_same_each_time(tmp_path: Path) -> None:
    write_standins = runpy.run_path(str(ROOT / "scripts" / "standin_images.py"))["write_standins"]
    assert write_standins(PUBLISHED, tmp_path / "pictures", size=24) == 1615 + 23 - 2
    digests = []
    for _ in range(2):
        prepare_eibench(PUBLISHED, [tmp_path / "pictures"], tmp_path / "out")
        basic, complex_ = (open_dataset(str(tmp_path / "out" / f"eibench_{name}")) for name in ("basic", "complex"))
        digests.append((basic.index().row_digests, complex_.index().row_digests))
    assert digests[0] == digests[1]
    assert (basic.num_rows, complex_.num_rows) == (1615, 50)
    assert len(set(basic.index().sample_ids)) == 1615
    assert len(set(complex_.index().sample_ids)) == 50
    samples = basic.samples(0, basic.num_rows)
    emotions = Counter(sample.metadata["emotion"] for sample in samples)
    assert emotions == {"angry": 342, "happy": 91, "sadness": 462, "excitement": 720}
    assert {len(sample.targets) for sample in samples} <= set(range(2, 11))
    assert len({sample.media[0].digest for sample in samples}) == 1615
