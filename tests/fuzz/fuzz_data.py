"""Targets: what is prepared into datasets, prepared datasets that are damaged, and the official prompt."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fuzzing import AWKWARD_JSON, check_paragraph, join, refusals, split, target, to_text
from PIL import Image

from eibench_ray.benchmarks.eibench.importer import prepare_eibench
from eibench_ray.benchmarks.eibench.published_prompts import read_official
from eibench_ray.datasets.dataset import Dataset, open_dataset
from eibench_ray.datasets.layout import CARD_FILE, PROTOCOL_FILE, SAMPLES_FILE
from eibench_ray.datasets.parquet_tables import read_parquet
from eibench_ray.datasets.picture_files import EscapedPathError, PictureFolders
from eibench_ray.datasets.prompts_file import PromptSet, SourcePrompt, SourceSampling, dump_protocol, load_protocol
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.rows.request import AcceptRule
from eibench_ray.rows.sample import Media, Sample

PATHS = ("CAER-S/train/Angry/1.png", "EmoSet-118k/image/sadness/2.jpg")


def _annotations() -> list[bytes]:
    asked = [json.dumps({PATHS[0]: "Why is he loud?"}), json.dumps({PATHS[1]: "Why does she cry?"})]
    references = json.dumps({PATHS[0]: "1. Noise.\n2. A cup.", PATHS[1]: "1. Rain."})
    several = json.dumps({PATHS[1]: {"Why is she sad?": "1. Rain.", "Why is he calm?": "1. Tea.\n2. A book."}})
    return [
        join("\n".join(asked), references, several),
        join(asked[0], "{}", "[]"),
        join(asked[1], references),
        *(join(b'{"a/b.png": ' + value + b"}", value, b'{"a": {"Why?": ' + value + b"}}") for value in AWKWARD_JSON),
        *(join(asked[0], b'{"a": ' + value + b"}", value) for value in AWKWARD_JSON),
    ]


@target(_annotations)
def annotations(data: bytes, folder: Path) -> None:
    """EIBench's annotation files, prepared into datasets that open."""
    files = ("EI_Basic/user.jsonl", "EI_Basic/basic_ground_truth.json", "EI_Complex/ec_complex.jsonl")
    for name, content in zip(files, split(data, len(files)), strict=True):
        (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "clone" / name).write_bytes(content)
    for subset in ("basic", "complex"):
        with refusals():
            report = prepare_eibench(
                folder / "clone", [_pictures(folder)], folder / "out", subset, allow_missing_images=True
            )
            for path, card in report.datasets:
                assert _read(open_dataset(str(path))) == card.rows


def _pictures(folder: Path) -> Path:
    for path in PATHS:
        file = folder / "pictures" / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(path.encode())
    return folder / "pictures"


def _read(dataset: Dataset) -> int:
    """The number of a dataset's rows, each of which was read in all the ways there are."""
    index = dataset.index()
    samples = dataset.samples(0, dataset.num_rows)
    assert [sample.sample_id for sample in samples] == list(index.sample_ids)
    assert len(index.row_digests) == dataset.num_rows
    dataset.images(0, dataset.num_rows, index.sample_ids)
    dataset.has_repeated_pictures(range(dataset.num_rows))
    return len(samples)


ROWS: list[dict[str, object]] = [
    {"id": "a", "image": PATHS[0], "question": "Why?", "emotion": "angry", "target": "1. Noise.\n2. A cup."},
    {"id": 7, "image": None, "question": "Why not?", "target": ["Rain.", "A book."], "caption": "A street."},
    {"question": "Who?", "image": {"path": PATHS[1]}, "target": "1. Tea.", "source": "mine"},
]


def _lines() -> list[bytes]:
    lines = [json.dumps(row) for row in ROWS]
    return [
        "\n".join(lines).encode(),
        *(line.encode() for line in lines),
        (lines[0] + "\n\n[1]\n{").encode(),
        *(b'{"question": "Why?", "target": ["Rain."], "source": ' + value + b"}" for value in AWKWARD_JSON),
        *(b'{"question": "Why?", "image": ' + value + b"}" for value in AWKWARD_JSON),
    ]


@target(_lines)
def jsonl(data: bytes, folder: Path) -> None:
    """A JSONL file, prepared into a dataset that opens."""
    file = folder / "rows.jsonl"
    file.write_bytes(data)
    for unlabelled in (False, True):
        with refusals():
            report = prepare_table(
                read_jsonl(file),
                parse_columns([]),
                [_pictures(folder)],
                folder / "out",
                allow_missing_images=True,
                unlabelled=unlabelled,
            )
            assert _read(open_dataset(str(report.datasets[0][0]))) == report.datasets[0][1].rows


def _tables() -> list[bytes]:
    columns: list[dict[str, object]] = [
        {"id": ["a", "b"], "question": ["Why?", "Who?"], "target": [["Rain."], ["Tea.", "A book."]]},
        {"image": [{"bytes": b"png", "path": PATHS[0]}], "question": ["Why?"], "target": ["Rain."]},
        {"image": [PATHS[0]], "question": ["Why?"], "target": ["Rain."], "id": [1]},
    ]
    return [_parquet(pa.table(one), compression) for one in columns for compression in ("none", "zstd")]


def _parquet(table: pa.Table, compression: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=compression)
    return bytes(sink.getvalue())


@target(_tables)
def parquet(data: bytes, folder: Path) -> None:
    """A Parquet file from elsewhere, prepared into a dataset that opens."""
    file = folder / "rows.parquet"
    file.write_bytes(data)
    with refusals():
        report = prepare_table(
            read_parquet(file),
            parse_columns([]),
            [_pictures(folder)],
            folder / "out",
            allow_missing_images=True,
            unlabelled=True,
        )
        assert _read(open_dataset(str(report.datasets[0][0]))) == report.datasets[0][1].rows


PROTOCOL = PromptSet(
    {"user_question": SourcePrompt(None, "Look, {question}", SourceSampling(0.25, None, 64))},
    {
        "llama3_basic": SourcePrompt(
            "Be fair: {{}}.",
            "Mark {record}\nby {reference}",
            SourceSampling(0.5, 0.75, 32),
            AcceptRule("{mark: ", True, 3, "{mark: 0/1}"),
            "a/judge",
        )
    },
)
# Each tag makes PyYAML build a value, and not every failure to do so is an error of its own.
YAML = """
subject: {plain: {user: 'Why? {question}'}, sampling: {temperature: 1e-1, top_p: .9}}
judge:
  gpt_basic: {user: !!str x, accept_if: reply contains 'it', attempts: unbounded, on_exhausted: ''}
score: {when: 2026-11-26, how: !!int 0b1, much: .inf, is: !!bool yes, of: !!binary aGk=, at: !!timestamp 2001-01-01}
"""


def _datasets() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        with DatasetWriter(Path(made) / "made", "made for a test", PROTOCOL) as writer:
            for number in range(3):
                images = [f"picture {number}".encode()] * number
                media = (Media(f"faces/{number}.png"),) * number
                writer.add(Sample(f"s{number}", {"question": "Why?"}, media, ("Tea.",)), images)
        files = [(Path(writer.path) / name).read_bytes() for name in (CARD_FILE, PROTOCOL_FILE, SAMPLES_FILE)]
    rest = b', "layout": 2, "inputs": {}, "metadata": {}, "most_media": 0}'
    cards = [b'{"rows": ' + value + rest for value in AWKWARD_JSON]
    return [join(*files), join(files[0], "{}", files[2]), *(join(card, "{}", files[2]) for card in cards)]


@target(_datasets)
def dataset(data: bytes, folder: Path) -> None:
    """A prepared dataset whose files are damaged."""
    for name, content in zip((CARD_FILE, PROTOCOL_FILE, SAMPLES_FILE), split(data, 3), strict=True):
        (folder / name).write_bytes(content)
    with refusals():
        _read(open_dataset(str(folder)))


def _protocols() -> list[bytes]:
    return [
        dump_protocol(PROTOCOL).encode(),
        YAML.encode(),
        b"judge: {a: {user: '{record} {{x}}', model: m}}",
        b"[" * 600,
    ]


@target(_protocols)
def protocol(data: bytes, folder: Path) -> None:
    """A `protocol.yaml`: what is understood survives being written and read again."""
    file = folder / "protocol.yaml"
    file.write_bytes(data)
    with refusals():
        loaded = load_protocol(file)
        file.write_text(dump_protocol(loaded), encoding="utf-8")
        again = load_protocol(file)
        assert again.digest == loaded.digest


BASELINE = """
for img_path, question in data.items():
    inp = f"Name the emotion's cause, step by step: {question}END"
    ask(f"What emotion? {question}")
parser.add_argument("--temperature", type=float, default=0.7)
parser.add_argument("--max-new-tokens", type=int, default=55)
"""
JUDGE = r"""
def ask(prompt, model="big", temperature=0.3, max_tokens=77):
    for i in range(3):
        messages = [{"role": "system", "content": "Count {fairly}."}, {"role": "user", "content": prompt}]
        output = client.create(messages, model=model, top_p=0.5)
        if "{mark: " in output.lower():
            break
        if i == 2:
            output = "{mark: 0/1}"
for img_path, data_input in answers.items():
    content = "Mark it as {mark: a/b}"
    content += f"\n{data_input}\n{gt[img_path]}"
"""


def _scripts() -> list[bytes]:
    sampling = BASELINE.replace("0.7", "1e999").replace("55", "1e999")
    surrogate = JUDGE.replace("Mark it", r"\ud800")
    sums = "content = " + "+".join(["'a'"] * 3000)
    return [
        join(JUDGE, BASELINE),
        join(JUDGE, b"# -*- coding: latin-1 -*-\nx = 1\n"),
        join(b"x = (", sampling),
        join(surrogate, BASELINE),
        join(sums, "(" * 300),
        join(JUDGE.replace("{mark: ", r"it\nis"), sums),
    ]


@target(_scripts)
def script(data: bytes, folder: Path) -> None:
    """The published scripts: what is found in them can be written beside a dataset and read again."""
    judge, baseline = split(data, 2)
    for name, content in {"gpt-eval.py": judge, "baselines/LLaVA/run.py": baseline}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    found, notes = read_official(folder)
    assert all("\n" not in note for note in notes)
    if found is not None:
        file = folder / "protocol.yaml"
        file.write_text(dump_protocol(found), encoding="utf-8")
        assert load_protocol(file).digest == found.digest


def _paths() -> list[bytes]:
    return [
        path.encode()
        for path in (*PATHS, "train/Angry/1.png", "../pictures/x", "/etc", "a//./b", "pictures/a", "a" * 300)
    ] + [b"\xed\xa0\x80"]


@target(_paths)
def picture_path(data: bytes, folder: Path) -> None:
    """A picture's path in an annotation: found inside the user's folders, or nowhere."""
    folders = PictureFolders([_pictures(folder)])
    path = data.decode("utf-8", "surrogatepass") if _is_utf8(data) else to_text(data)
    try:
        found = folders.find(folders.relative(path))
    except EscapedPathError:
        return
    assert found is None or found.is_relative_to(folder.resolve() / "pictures")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _drawn() -> list[bytes]:
    picture = Image.new("RGBA", (4, 3), (200, 30, 40, 100))
    found = []
    for kind in ("PNG", "GIF", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        found.append(buffer.getvalue())
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG")
    return [*found, buffer.getvalue()]


@target(_drawn)
def picture(data: bytes, folder: Path) -> None:
    """A picture's bytes, decoded for an engine."""
    del folder
    try:
        assert decode_picture(data).mode == "RGB"
    except RowError as error:
        check_paragraph(error)
