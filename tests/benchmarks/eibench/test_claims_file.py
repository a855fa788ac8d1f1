"""The paper's claims as the package carries them, and what is said about files that are none."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from eibench_ray.benchmarks.eibench.claims import find_contradictions
from eibench_ray.benchmarks.eibench.claims_file import PAPER_CLAIMS, read_claims
from eibench_ray.config.options_folder import config_folder
from eibench_ray.errors import DataError

HEAD = "dataset,setting,model,judge,emotion,recall_percent,samples,label,source\n"
LINE = "demo,user_question,echo,echo,overall,50.00,24,Echo,a test\n"


def test_the_papers_table_is_there_whole() -> None:
    claims = read_claims()
    assert len(claims) == 336
    cells = {(claim.dataset, claim.setting, claim.model, claim.judge) for claim in claims}
    assert len(cells) == 88
    assert Counter(claim.emotion for claim in claims) == {
        "overall": 88,
        "happy": 62,
        "angry": 62,
        "sadness": 62,
        "excitement": 62,
    }
    assert len({claim.model for claim in claims}) == len({claim.label for claim in claims}) == 14


def test_the_headline_has_26_rows_with_a_figure_per_judge() -> None:
    headline = [claim for claim in read_claims() if claim.is_headline]
    assert len(headline) == 52
    assert len({(claim.dataset, claim.model) for claim in headline}) == 26
    assert Counter((claim.dataset, claim.judge) for claim in headline) == {
        (dataset, judge): 13
        for dataset in ("eibench_basic", "eibench_complex")
        for judge in ("llama3_8b", "chatgpt_3_5")
    }


def test_figures_are_the_published_ones() -> None:
    found = {
        (claim.dataset, claim.setting, claim.model, claim.judge, claim.emotion): claim.percent
        for claim in read_claims()
    }
    assert found["eibench_basic", "user_question", "qwen_vl_chat", "llama3_8b", "overall"] == Decimal("26.45")
    assert found["eibench_basic", "user_question", "llava_next_34b", "llama3_8b", "overall"] == Decimal("49.03")
    assert found["eibench_complex", "user_question", "chatgpt_4o", "chatgpt_3_5", "overall"] == Decimal("39.57")
    assert all(percent.as_tuple().exponent == -2 for percent in found.values())


def test_samples_are_eibenchs() -> None:
    counts = {(claim.dataset, claim.emotion): claim.samples for claim in read_claims()}
    assert counts == {
        ("eibench_basic", "happy"): 91,
        ("eibench_basic", "angry"): 342,
        ("eibench_basic", "sadness"): 462,
        ("eibench_basic", "excitement"): 720,
        ("eibench_basic", "overall"): 1615,
        ("eibench_complex", "overall"): 50,
    }


def test_one_row_of_the_paper_is_not_the_mean_of_its_emotions() -> None:
    (found,) = find_contradictions(read_claims())
    assert (found.claim.setting, found.claim.label, found.claim.judge) == ("user_question", "ChatGPT-4V", "chatgpt_3_5")
    assert found.claim.percent == Decimal("48.58")
    assert round(found.expected, 2) == Decimal("48.38")


def test_every_name_is_an_option() -> None:
    named = {
        f"{group}/{getattr(claim, group)}"
        for claim in read_claims()
        for group in ("dataset", "setting", "model", "judge")
    }
    assert [option for option in sorted(named) if not (config_folder() / f"{option}.yaml").is_file()] == []


def test_further_columns_blanks_and_a_byte_order_mark_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    path.write_text("\ufeff" + HEAD.strip() + ",note\n" + LINE.strip() + " , kept apart\n")
    (claim,) = read_claims(path)
    assert (claim.model, claim.percent, claim.samples, claim.source) == ("echo", Decimal("50.00"), 24, "a test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column dataset, setting, "),
        ("dataset,model\n", "no column setting, judge, emotion, recall_percent, samples, label, source: a file of "),
        (HEAD, "claims nothing: name a CSV file with a line per figure"),
        (HEAD + LINE + LINE, "line 3: demo/user_question/echo/echo/overall was claimed before: keep one line"),
        (HEAD + LINE.replace("50.00", "half"), "line 2: recall_percent 'half' and samples '24' are no figure"),
        (HEAD + LINE.replace("50.00", "nan"), "line 2: recall_percent 'nan' and "),
        (HEAD + LINE.replace("50.00", "-1"), "line 2: recall_percent '-1' and "),
        (HEAD + LINE.replace("24", "0"), "line 2: recall_percent '50.00' and samples '0' are no figure"),
        (HEAD + LINE.replace("24", "many"), "samples 'many' are no figure"),
        (HEAD + LINE.replace("echo,echo", "echo, "), "line 2: judge is empty: fill every column"),
        (HEAD + "demo,user_question\n", "line 2: model, judge, emotion, "),
        (HEAD + '"demo', "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "claims.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        read_claims(path)
    assert str(refused.value).startswith(str(path))
    assert said in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_claims(tmp_path / "nowhere.csv")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot be read"):
        read_claims(tmp_path / "picture.csv")


def test_the_claims_lie_in_the_package() -> None:
    import eibench_ray

    assert PAPER_CLAIMS.is_relative_to(Path(eibench_ray.__file__).parent)
