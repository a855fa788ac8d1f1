"""Makes the site's pages of configuration keys and commands, from the schema, the option files and the command itself.

MkDocs calls `on_files` (hooks in mkdocs.yml). `python scripts/reference_pages.py` prints both pages.
"""

from __future__ import annotations

import ast
import inspect
import re
import tokenize
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from io import StringIO
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from eibench_ray.cli.app import app
from eibench_ray.config.engine_section import ENGINE_KINDS, EngineSection, key_uses, section_class
from eibench_ray.config.options_folder import config_folder
from eibench_ray.config.schema import RunConfig

if TYPE_CHECKING:
    from click import Command
    from mkdocs.config.defaults import MkDocsConfig

CONFIGURATION = """# Configuration

Made from the schema when this site is built. A key is written as `section.key=value`; `model.` also stands for
`captioner.`, `asker.` and `judge.model.`, the models in other roles.

*identity*: an answer can depend on it; change it, and rows are asked anew. *tuning*: it changes no answer. Keys of
engines say which they are. Prompts, sampling, seed and dataset are identity; what stands below `cluster`, `store`,
`tracking`, `report` and `score` is part of no id.
"""
COMMANDS = """# Commands

Made from the command when this site is built: `eibench-ray COMMAND --help` says the same.
"""
HEAD = "| key | type | default | | meaning |\n|---|---|---|---|---|\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds both pages to the site."""
    for name, text in (("configuration", render_configuration()), ("commands", render_commands())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def render_configuration() -> str:
    """Every key of a run's configuration, and every option of its groups."""
    parts = [CONFIGURATION]
    for title, prefix, section in _sections(RunConfig, "", set()):
        parts.append(f"\n## {title}\n\n{_first_line(section)}\n\n{HEAD}" + "".join(_rows(prefix, section)))
    for kind in ENGINE_KINDS.names():
        section = section_class(kind)
        title = f"model.engine, kind {kind}"
        parts.append(f"\n## {title}\n\n{_first_line(section)}\n\n{HEAD}" + "".join(_rows("model.engine.", section)))
    parts.append("\n## Options\n")
    for group in sorted(path for path in config_folder().iterdir() if path.is_dir()):
        parts.append(f"\n### {group.name}\n\n| option | |\n|---|---|\n")
        for file in sorted(group.glob("*.yaml")):
            said = [line[1:].strip() for line in file.read_text("utf-8").splitlines() if line.startswith("# ")]
            said = [line for line in said if not line.startswith("@")]
            parts.append(f"| `{file.stem}` | {_cell(said[0]) if said else ''} |\n")
    return "".join(parts)


def _sections(section: type[Any], prefix: str, seen: set[type[Any]]) -> Iterator[tuple[str, str, type[Any]]]:
    """Title, prefix and class of each section, but for those of engines."""
    seen.add(section)
    yield prefix.rstrip(".") or "The run", prefix, section
    for name, annotation in _annotations(section):
        for inner in _classes_in(annotation):
            if inner not in seen and not issubclass(inner, EngineSection):
                yield from _sections(inner, f"{prefix}{name}.", seen)


def _annotations(section: type[Any]) -> list[tuple[str, Any]]:
    if is_dataclass(section):
        return [(field.name, field.type) for field in fields(section)]
    return [(name, field.annotation) for name, field in section.model_fields.items()]


def _classes_in(annotation: Any) -> Iterator[type[Any]]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _classes_in(argument)


def _rows(prefix: str, section: type[Any]) -> Iterator[str]:
    """A line per key."""
    said = _comments(section)
    uses = key_uses(section) if issubclass(section, EngineSection) else {}
    for name, annotation in _annotations(section):
        use = uses.get(name)
        word = "" if use is None else "identity" if use.is_identity else "tuning"
        default = _default(section, name)
        yield f"| `{prefix}{name}` | {_type(annotation)} | {default} | {word} | {_cell(said.get(name, ''))} |\n"


def _default(section: type[Any], name: str) -> str:
    if is_dataclass(section):
        [value] = [field.default for field in fields(section) if field.name == name]
        is_needed = value is MISSING
    else:
        field = section.model_fields[name]
        value, is_needed = field.default, field.is_required()
    if is_needed:
        return "*needed*"
    if value is MISSING or value is PydanticUndefined or isinstance(value, BaseModel) or is_dataclass(value):
        return ""
    return f"`{'null' if value is None else _cell(str(value))}`"


def _type(annotation: Any) -> str:
    return f"`{_cell(_type_name(annotation))}`"


def _type_name(annotation: Any) -> str:
    """A type as a person writes it, without what only validation reads."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, str):
        return annotation
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, arguments))
    if origin is Literal:
        return " | ".join(map(str, arguments))
    name = "null" if annotation in (None, type(None)) else getattr(origin or annotation, "__name__", str(annotation))
    inner = ", ".join("..." if one is ... else _type_name(one) for one in arguments)
    return f"{name}[{inner}]" if inner else name


def _comments(section: type[Any]) -> dict[str, str]:
    """The source's words on each key: the comment behind it, or the line of the docstring's `Attributes`."""
    said: dict[str, str] = {}
    for owner in reversed(section.__mro__):
        if owner.__module__.startswith("eibench_ray"):
            said |= _documented(owner) | _behind(owner)
    return said


def _documented(owner: type[Any]) -> dict[str, str]:
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", inspect.getdoc(owner) or "", re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def _behind(owner: type[Any]) -> dict[str, str]:
    source = inspect.getsource(owner)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    [body] = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    found = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno in comments:
            found[node.target.id] = comments[node.end_lineno]
    return found


def _first_line(section: type[Any]) -> str:
    return (inspect.getdoc(section) or "").split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def render_commands() -> str:
    """The help of every command."""
    root = typer.main.get_command(app)
    parts = [
        "# Commands\n\nMade from the command when this site is built: `eibench-ray COMMAND --help` says the same.\n"
    ]
    for name, command in _commands(root, "eibench-ray"):
        parts.append(f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n")
        lines = [_option(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        parts.append("| argument or option | |\n|---|---|\n" + "".join(lines) if lines else "")
    return "".join(parts)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Command]]:
    yield name, command
    if not hasattr(command, "commands"):
        return
    context = command.context_class(command)
    for part in sorted(command.list_commands(context)):  # those of benchmarks, too
        if not (inner := command.get_command(context, part)).hidden:
            yield from _commands(inner, f"{name} {part}")


def _option(parameter: Any) -> str:
    names = (
        ", ".join(parameter.opts)
        if parameter.param_type_name == "option"
        else (parameter.metavar or parameter.name).upper()
    )
    return f"| `{_cell(names)}` | {_cell(getattr(parameter, 'help', None) or '')} |\n"


if __name__ == "__main__":
    print(render_configuration() + render_commands())
