import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eibench_ray.datasets import writer as writing
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.layout import ROW_GROUP_PICTURES, ROW_GROUP_ROWS
from eibench_ray.datasets.prompts_file import PromptSet, SourcePrompt
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Media, Sample, TargetValue

NUM_ROWS = 2 * ROW_GROUP_PICTURES + 22


def make_sample(number: int) -> Sample:
    media = () if number == 7 else (Media(f"a/{number}.png"),)
    inputs = {"question": f"why {number}?", "caption": f"caption {number}"}
    return Sample(f"id-{number}", inputs, media, ("Sun.",), {"emotion": "happy", "level": number, "tags": ("a", "b")})


def write(out: Path, rows: int = NUM_ROWS, protocol: PromptSet | None = None) -> None:
    with DatasetWriter(out, "A test", protocol) as writer:
        for number in range(rows):
            writer.add(make_sample(number), [] if number == 7 else [b"picture %d" % number])


def write_twins(out: Path) -> None:
    with DatasetWriter(out, "A test") as writer:
        writer.add(make_sample(1), [b"a"])
        writer.add(make_sample(1), [b"a"])


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path / "d")
    dataset = open_dataset(str(tmp_path / "d"))
    assert dataset.num_rows == NUM_ROWS
    assert (dataset.inputs, dataset.metadata) == (
        dict.fromkeys(("question", "caption"), NUM_ROWS),
        dict.fromkeys(("emotion", "level", "tags"), NUM_ROWS),
    )
    assert dataset.protocol is None
    index = dataset.index()
    assert index.sample_ids == tuple(f"id-{number}" for number in range(NUM_ROWS))
    assert len(set(index.row_digests)) == NUM_ROWS
    assert tuple(dataset.index().row_digests_of(0, 3)) == index.row_digests[:3]
    samples = dataset.samples(60, 70)
    assert [sample.sample_id for sample in samples] == [f"id-{number}" for number in range(60, 70)]
    assert [one.path for one in samples[4].media] == ["a/64.png"]
    assert samples[4].media[0].digest != samples[5].media[0].digest
    assert replace(samples[4], media=()) == replace(make_sample(64), media=())


@pytest.mark.parametrize("target", [None, "B", "", 42, 0, 1.5, ("a",), ("a", "b")])
def test_a_target_keeps_its_kind(tmp_path: Path, target: TargetValue) -> None:
    with DatasetWriter(tmp_path / "d", "A test") as writer:
        writer.add(Sample("a", {"question": "why?"}, target=target, metadata={"flag": True, "none": None, "pi": 3.14}))
    [sample] = open_dataset(str(tmp_path / "d")).samples(0, 1)
    assert (sample.target, type(sample.target)) == (target, type(target))
    assert sample.metadata == {"flag": True, "none": None, "pi": 3.14}


def test_several_pictures_come_back_in_their_order(tmp_path: Path) -> None:
    orders = []
    for names in (("b", "a", "b"), ("a", "b", "b")):
        with DatasetWriter(tmp_path / "d", "A test") as writer:
            media = tuple(Media(f"{name}.png") for name in names)
            writer.add(Sample("one", {"question": "why?"}, media), [name.encode() for name in names])
            writer.add(Sample("none", {"question": "why?"}))
        dataset = open_dataset(str(tmp_path / "d"))
        assert [one.path[0] for one in dataset.samples(0, 1)[0].media] == list(names)
        assert dataset.images(0, 2, ["one", "none"]) == {"one": tuple(name.encode() for name in names)}
        assert dataset.most_media == 3
        orders.append(dataset.index().row_digests[0])
    assert orders[0] != orders[1]


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 70), (64, 65), (149, 150), (140, 400)])
def test_the_index_of_a_range_is_that_part_of_the_whole(tmp_path: Path, start: int, stop: int) -> None:
    write(tmp_path / "d")
    index = open_dataset(str(tmp_path / "d")).index()
    whole = list(zip(index.sample_ids, index.row_digests, strict=True))
    assert list(index.rows(start, stop)) == whole[start:stop]


def test_an_open_dataset_stays_what_it_was_when_it_is_prepared_again(tmp_path: Path) -> None:
    write(tmp_path / "d", rows=5)
    before = open_dataset(str(tmp_path / "d"))
    write(tmp_path / "d", rows=3)
    assert len(before.samples(0, 10)) == len(before.index().sample_ids) == 5
    assert len(open_dataset(str(tmp_path / "d")).samples(0, 10)) == 3


@pytest.mark.parametrize(("start", "stop", "num_rows"), [(0, 1, 1), (63, 65, 2), (149, 400, 1), (5, 5, 0)])
def test_any_range_can_be_read(tmp_path: Path, start: int, stop: int, num_rows: int) -> None:
    write(tmp_path / "d")
    assert len(open_dataset(str(tmp_path / "d")).samples(start, stop)) == num_rows


def test_only_wanted_pictures_in_the_range_are_read(tmp_path: Path) -> None:
    write(tmp_path / "d")
    images = open_dataset(str(tmp_path / "d")).images(6, 130, ["id-5", "id-6", "id-7", "id-129", "id-140", "unknown"])
    assert images == {"id-6": (b"picture 6",), "id-129": (b"picture 129",)}


def test_a_text_only_sample_has_no_picture(tmp_path: Path) -> None:
    write(tmp_path / "d")
    [sample] = open_dataset(str(tmp_path / "d")).samples(7, 8)
    assert sample.media == ()


def test_row_groups_are_short_enough_for_slices(tmp_path: Path) -> None:
    write(tmp_path / "d")
    metadata = pq.read_metadata(tmp_path / "d" / "samples.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [65, 64, 21]


def test_rows_without_a_picture_share_longer_row_groups(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", "A test") as writer:
        for number in range(ROW_GROUP_ROWS + 3):
            writer.add(replace(make_sample(number), media=()))
    metadata = pq.read_metadata(tmp_path / "d" / "samples.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [ROW_GROUP_ROWS, 3]


def test_a_changed_picture_or_text_changes_only_its_row_digest(tmp_path: Path) -> None:
    digests = []
    for image, question in ((b"x", "why?"), (b"y", "why?"), (b"x", "why not?")):
        with DatasetWriter(tmp_path / "d", "A test") as writer:
            writer.add(Sample("a", {"question": question}, (Media("a.png"),), ("Sun.",)), [image])
            writer.add(make_sample(1), [b"same"])
        digests.append(open_dataset(str(tmp_path / "d")).index().row_digests)
    assert len({first for first, _ in digests}) == 3
    assert len({second for _, second in digests}) == 1


def test_an_id_that_comes_twice_is_an_error_that_leaves_the_dataset_that_was_there(tmp_path: Path) -> None:
    write(tmp_path / "d", rows=3)
    with pytest.raises(DataError, match="'id-1'"):
        write_twins(tmp_path / "d")
    assert open_dataset(str(tmp_path / "d")).num_rows == 3
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_prepared_dataset_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    write(tmp_path / "d", rows=3)
    write(tmp_path / "d", rows=5)
    assert open_dataset(str(tmp_path / "d")).num_rows == 5
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not a prepared dataset"):
        write(tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "mine"]
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_empty_datasets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sample"):
        write(tmp_path / "d", rows=0)
    assert list(tmp_path.iterdir()) == []


def test_the_card_counts_who_has_what(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", "A test") as writer:
        writer.add(make_sample(1), [b"a"])
        writer.add(Sample("bare", {"question": "why?"}, target="Sun."))
    card = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert (card["inputs"], card["targets"], card["media"]) == ({"question": 2, "caption": 1}, 2, 1)
    assert (card["metadata"], card["protocol"]) == ({"emotion": 1, "level": 1, "tags": 1}, "own")


def test_the_protocol_travels_with_the_dataset(tmp_path: Path) -> None:
    protocol = PromptSet({"user_question": SourcePrompt(None, "Look, {question}")})
    write(tmp_path / "d", rows=2, protocol=protocol)
    assert open_dataset(str(tmp_path / "d")).protocol == protocol


ELSEWHERE = [
    "../precious.parquet",
    "{outside}",
    "a/../../precious.parquet",
    "dataset.json",
    "",
    None,
    3,
    "..",
    "x.parquet",
]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_card_that_names_another_file_reads_and_deletes_nothing_of_it(tmp_path: Path, name: object) -> None:
    write(tmp_path / "d", rows=3)
    precious = tmp_path / "precious.parquet"
    precious.write_bytes((tmp_path / "d" / "samples.parquet").read_bytes())
    card = tmp_path / "d" / "dataset.json"
    named = str(precious) if name == "{outside}" else name
    card.write_text(json.dumps(json.loads(card.read_text()) | {"samples": named}))
    with pytest.raises(DataError, match="names the rows' file"):
        open_dataset(str(tmp_path / "d"))
    write(tmp_path / "d", rows=2)
    assert precious.exists()
    assert open_dataset(str(tmp_path / "d")).num_rows == 2


def test_other_files_beside_a_dataset_are_not_lost_with_it(tmp_path: Path) -> None:
    write(tmp_path / "d", rows=3)
    (tmp_path / "d" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"other files beside it \(notes.txt\)"):
        write(tmp_path / "d", rows=2)
    assert open_dataset(str(tmp_path / "d")).num_rows == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]


def test_a_file_of_somebody_elses_called_dataset_json_makes_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "dataset.json").write_text('{"name": "mine"}')
    with pytest.raises(DataError, match="is not a prepared dataset"):
        write(tmp_path / "d")
    assert (tmp_path / "d" / "dataset.json").exists()


def test_a_dataset_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    write(tmp_path / "far", rows=3)
    (tmp_path / "near").symlink_to("far")
    write(tmp_path / "near", rows=2)
    assert open_dataset(str(tmp_path / "far")).num_rows == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "near"]


def test_large_pictures_share_shorter_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", 1000)
    with DatasetWriter(tmp_path / "d", "A test") as writer:
        for number in range(5):
            writer.add(make_sample(number), [bytes([number]) * 400])
    metadata = pq.read_metadata(tmp_path / "d" / "samples.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [3, 2]
