from pathlib import Path

import pytest

from eibench_ray.benchmarks.eibench.published_prompts import read_official
from eibench_ray.datasets.prompts_file import SourceSampling
from eibench_ray.rows.request import AcceptRule

LLAMA = """
import a_package_that_does_not_exist

def main(answers, gt, output_file):
    for img_path, data_input in answers.items():
        i = 0
        while True:
            content = "Count causes. Reply as {score: found/all}."
            REFERENCE_LINES
            messages = [
                {"role": "system", "content": "Count {carefully}."},
                {"role": "user", "content": content},
            ]
            outputs = model.generate(ids, max_new_tokens=99, do_sample=True, temperature=0.2, top_p=0.8)
            output = tokenizer.decode(outputs)
            if "{score: " in output.lower():
                break
            if i == 2:
                output = "{score: 0/9}"
                break
            i += 1
raise SystemExit("this script must never run")
"""
BASIC_LINES = r'content = content + f"\n\nText:\n{data_input}.\nTruth:\n{gt[img_path]}"'
COMPLEX_LINES = r"""for _, label in gt.items():
                content += f"\n\nText:\n{data_input}.\nTruth:\n{label}" """
GPT = """
def ask(prompt, model="big", temperature=0.3, max_tokens=77):
    while True:
        response = client.create(model=model, messages=[
            {'role': 'system', 'content': 'Count.'}, {'role': 'user', 'content': prompt}],
            temperature=temperature, max_tokens=max_tokens)
        if "{score" not in response.content:
            raise
        return response.content

def main(answers, gt):
    for img_path, data_input in answers.items():
        content = "Reply {score: a/b}"
        content = content + f": {data_input} / {gt[img_path]}"
        ask(prompt=content, model="small")
"""
BASELINE = """
for img_path, question in data.items():
    url = f"data:image/jpeg;base64,{picture}"
    # inp = f"An emotion was here before, {question}"
    inp = f"Name the emotion's cause: {question}ENDING"
parser.add_argument("--temperature", type=float, default=0.7)
parser.add_argument("--max-new-tokens", type=int, default=55)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    files = {
        "EIBench/EI_Basic/llama3-eval.py": LLAMA.replace("REFERENCE_LINES", BASIC_LINES),
        "EIBench/EI_Complex/llama3-eval-complex.py": LLAMA.replace("REFERENCE_LINES", COMPLEX_LINES),
        "EIBench/EI_Basic/gpt-eval.py": GPT,
        "EIBench/EI_Complex/gpt-eval-complex.py": GPT,
        "EIBench/baselines/AAA/other.py": BASELINE.replace("Name", "Other"),
        "EIBench/baselines/LLaVA/serve/plain.py": BASELINE.replace("ENDING", ""),
        "EIBench/baselines/LLaVA/serve/stepwise.py": BASELINE.replace("ENDING", " Go step by step."),
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def test_judges_are_read_with_their_sampling_and_acceptance(clone: Path) -> None:
    protocol, notes = read_official(clone)
    assert protocol is not None
    assert notes == ()
    wanted = "Count causes. Reply as {{score: found/all}}.\n\nText:\n{record}.\nTruth:\n{reference}"
    for name in ("llama3_basic", "llama3_complex"):
        llama = protocol.judge[name]
        assert llama.user == wanted
        assert llama.system == "Count {{carefully}}."
        assert llama.sampling == SourceSampling(0.2, 0.8, 99)
        assert llama.accept == AcceptRule("{score: ", True, 3, "{score: 0/9}")
    gpt = protocol.judge["gpt_basic"]
    assert gpt.user == "Reply {{score: a/b}}: {record} / {reference}"
    assert gpt.sampling == SourceSampling(0.3, None, 77)
    assert gpt.accept == AcceptRule("{score", False, 20, "")
    assert gpt.model == "small"


def test_subjects_are_asked_as_the_llava_baseline_asks(clone: Path) -> None:
    protocol, _ = read_official(clone)
    assert protocol is not None
    sampling = SourceSampling(temperature=0.7, max_tokens=55)
    plain, stepwise = protocol.subject["user_question"], protocol.subject["user_question_cot"]
    assert (plain.user, plain.sampling) == ("Name the emotion's cause: {question}", sampling)
    assert stepwise.user == "Name the emotion's cause: {question} Go step by step."


def test_what_is_missing_is_noted_and_the_rest_is_kept(clone: Path) -> None:
    (clone / "EIBench/EI_Basic/gpt-eval.py").unlink()
    (clone / "EIBench/EI_Complex/gpt-eval-complex.py").write_text("def broken(:", encoding="utf-8")
    (clone / "EIBench/EI_Basic/llama3-eval.py").write_text("content = f'{data_input} only'", encoding="utf-8")
    (clone / "EIBench/baselines/LLaVA/serve/stepwise.py").unlink()
    protocol, notes = read_official(clone)
    assert protocol is not None
    assert set(protocol.judge) == {"llama3_complex"}
    assert set(protocol.subject) == {"user_question"}
    for word in ("gpt-eval.py", "gpt-eval-complex.py", "llama3_basic", "user_question_cot"):
        assert sum(word in note for note in notes) == 1


def test_a_folder_without_scripts_has_no_protocol(tmp_path: Path) -> None:
    protocol, notes = read_official(tmp_path)
    assert protocol is None
    assert len(notes) == 6
