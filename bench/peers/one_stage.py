"""Scripts as they are written for one model and one benchmark: one process asks the rows of one step and ends.

    python one_stage.py vllm|transformers TASK.json OUT STEP

`vllm` loads the model and hands all prompts to `LLM.chat`; `transformers` asks row by row, as the scripts that are
published beside benchmarks do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from task import Task

Said = list[tuple[str, int, int]]


def ask_vllm(task: Task, step: dict[str, Any], prompts: list[tuple[str, str | None]]) -> Said:
    """Asks all rows at once."""
    from PIL import Image
    from vllm import LLM, SamplingParams

    engine = {key: value for key, value in task.engines[step["engine"]].items() if key != "name"}
    llm = LLM(**engine, enforce_eager=True, seed=0, disable_log_stats=True)
    messages = []
    for text, picture in prompts:
        content: Any = text
        if picture:
            content = [{"type": "image_pil", "image_pil": Image.open(picture).convert("RGB")}]
            content.append({"type": "text", "text": text})
        system = [{"role": "system", "content": step["system"]}] if step["system"] else []
        messages.append([*system, {"role": "user", "content": content}])
    params = SamplingParams(temperature=step["temperature"], top_p=step["top_p"], max_tokens=step["max_tokens"])
    outputs = llm.chat(messages, params, use_tqdm=False)
    return [(one.outputs[0].text, len(one.prompt_token_ids), len(one.outputs[0].token_ids)) for one in outputs]


def ask_transformers(task: Task, step: dict[str, Any], prompts: list[tuple[str, str | None]]) -> Said:
    """Asks row by row."""
    import torch
    from PIL import Image
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    engine = task.engines[step["engine"]]
    sees = step["sees_picture"]
    kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model = kind.from_pretrained(engine["model"], dtype=engine["dtype"]).eval()
    processor = (AutoProcessor if sees else AutoTokenizer).from_pretrained(engine["model"])
    tokenizer = processor.tokenizer if sees else processor
    said: Said = []
    for text, picture in prompts:
        content: Any = text
        if picture:
            content = [{"type": "image", "image": Image.open(picture).convert("RGB")}, {"type": "text", "text": text}]
        system = [{"role": "system", "content": step["system"]}] if step["system"] else []
        inputs = processor.apply_chat_template(
            [*system, {"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=step["max_tokens"], do_sample=False)
        reply = output[0, inputs["input_ids"].shape[1] :]
        said.append((tokenizer.decode(reply, skip_special_tokens=True), inputs["input_ids"].shape[1], len(reply)))
    return said


def main() -> None:
    """Asks one step."""
    backend, path, out, step_id = sys.argv[1:]
    task = Task(Path(path), Path(out))
    ask = {"vllm": ask_vllm, "transformers": ask_transformers}[backend]
    task.write(step_id, ask(task, task.steps[step_id], task.prompts(step_id)))


if __name__ == "__main__":
    main()
