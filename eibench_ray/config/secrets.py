"""Whether a name or a value looks like a secret. A configuration is written to disk, shown, tracked and submitted.

A key has one way in: the environment, under a name that an option gives (`api_key_env`, `cluster.slurm.export`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from eibench_ray.errors import ConfigError

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_SECRET_ENDS = ("token", "key", "secret", "password", "passwd", "passphrase", "credential", "credentials")
_SECRET_WORDS = ("authorization", "cookie", "pw", "pwd")  # as a whole word only
_NO_SECRETS = ("PWD",)  # the folder in which a shell works
_SECRET_ANYWHERE = ("secret", "password", "passwd", "passphrase")
# Words of a tokenizer, or of a request: `eos_token` is a text, `max_tokens_key` the name of a field.
_OF_MODELS = ("eos", "bos", "pad", "unk", "sep", "cls", "mask", "image", "video", "audio", "special", "stop", "tokens")
_WITHOUT_MEANING = ("value", "b", "base", "hex", "id")  # HF_TOKEN_B64

_SHAPES = re.compile(
    r"\bsk-(?=[\w-]*\d)[\w-]{16,}|\bhf_[A-Za-z0-9]{20,}|\b(?:gh[pousr]|gsk|r8|sk_live|rk_live)_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_\w{20,}|\b(?:glpat|nvapi|pplx|xai|wandb_v1)[-_][\w-]{16,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[\w-]{30,}|\bxox[abprs]-[\w-]{10,}|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b[Bb]earer [\w.~+/-]{16,}"
    r"|(?i:://[^\s?]{0,300}\?(?:\S{0,900}&)?"
    r"(?:[\w-]{0,40}(?:token|key|signature|credential|password|passwd|pwd|secret)|sig|auth|code)=[^&\s]{6,})"
)
_LOGIN = re.compile(r"https?://[^/@\s]+@|://[^/:@\s]*:[^/@\s]+@")
_BARE_LOGIN = re.compile(r"^[^/:@\s]+:[^/@\s]+@[^/@\s]+$")  # as a proxy may be named
_SET_IN_SHELL = re.compile(r"(?:^|[\s;=&|'\"])([A-Za-z_]\w*)=(?![\"']?\$|[\"']?(?:\s|$))")

_FROM_ENVIRONMENT = re.compile(r"\$\{\s*(?:oc\.)?env\s*:\s*['\"]?([^,}'\"\s]*)")
# Paths and addresses: they say where something is, and must be no secret anyway.
_PLACES = re.compile(
    r"store\.root|dataset\.path|cluster\..*|hydra\.(run|sweep)\.(dir|subdir)|hydra\.searchpath.*"
    r"|(.*\.)?engine\.(source|predictions|base_url|chat_template|env\..*|runtime_env\..*)"
)
# As `{hf_token: x}` stands in an override.
_SET_IN_MAPPING = re.compile(r"[{,]\s*['\"]?([\w.-]+)['\"]?\s*:(?!\s*(?:null|true|false)?\s*[,}])")
_OVERRIDES = "hydra.overrides"
_HYDRAS_OWN = ("hydra.runtime", "hydra.job.override_dirname", "hydra.help", "hydra.hydra_help")


def has_login(text: str) -> bool:
    """Whether a text holds an address with a name or a password in it, which looks like a secret."""
    return _LOGIN.search(text) is not None


def is_secret_name(name: str) -> bool:
    """Whether what stands under a name is a secret by its name: `HF_TOKEN`, `api_key`, but not `tokenizer_mode`."""
    if name in _NO_SECRETS:
        return False
    words = [word.lower() for word in _WORDS.findall(name)]
    while len(words) > 1 and words[-1] in _WITHOUT_MEANING:
        del words[-1]
    if not words:
        return False
    if any(word.endswith(_SECRET_ANYWHERE) for word in words[:-1]) and words[-1] not in ("env", "path", "file", "dir"):
        return True
    if words[-1] in _SECRET_WORDS:
        return True
    return words[-1].endswith(_SECRET_ENDS) and not (len(words) > 1 and words[-2] in _OF_MODELS)


def is_secret_shape(text: str) -> bool:
    """Whether a text looks like the key of a service, or holds one or an address with a login."""
    return has_login(text) or _SHAPES.search(text) is not None


def refuse_secrets(config: Mapping[str, Any]) -> None:
    """Refuses a configuration, as plain values, that holds a secret or reads one from the environment.

    No message repeats a value.

    Raises:
        ConfigError: a value looks like a secret by its name or its shape; or comes from an environment variable where
            it would be shown.
    """
    for key, value in leaves_of(config, ""):
        _check(key, value)


def _check(key: str, value: object) -> None:
    if key.startswith(_HYDRAS_OWN):
        return
    if key.startswith(_OVERRIDES) and isinstance(value, str):
        _check_override(value)
        return
    texts = [value] if isinstance(value, str) else []
    name = key.rpartition(".")[2]
    if is_secret_name(name) and value not in (None, "") and not isinstance(value, bool):
        raise ConfigError(_refusal(key, f"{name} looks like the name of a secret"))
    if key.startswith("hydra.job.env_copy") and isinstance(value, str) and is_secret_name(value):
        raise ConfigError(_refusal(key, f"{value} looks like the name of a secret, and Hydra would write it down"))
    if name.lower().endswith("proxy") and isinstance(value, str) and _BARE_LOGIN.match(value):
        raise ConfigError(_refusal(key, "it holds a name and a password"))
    for text in texts:
        for variable in _FROM_ENVIRONMENT.findall(text):
            _check_variable(key, variable)
        if is_secret_shape(text):
            raise ConfigError(_refusal(key, "it looks like the key of a service, or like an address with a password"))
        if key.startswith("cluster.slurm.") and (named := _find_set(text)):
            raise ConfigError(_refusal(key, f"it sets {named}, which looks like a secret"))


def _check_override(text: str) -> None:
    """Of a sweep, Hydra writes the overrides down before it composes what they say."""
    key, _, value = text.lstrip("+~").partition("=")
    names = [key.rpartition(".")[2], *_SET_IN_MAPPING.findall(value)]
    if value.strip() not in ("", "null", "true", "false") and (found := next(filter(is_secret_name, names), None)):
        raise ConfigError(_refusal(key, f"{found} looks like the name of a secret"))
    for variable in _FROM_ENVIRONMENT.findall(value):
        _refuse_secret_variable(key, variable)
    if is_secret_shape(value):
        raise ConfigError(_refusal(key, "it looks like the key of a service, or like an address with a password"))


def _refuse_secret_variable(key: str, variable: str) -> None:
    if not re.fullmatch(r"\w+", variable):
        raise ConfigError(f"{key} reads an environment variable whose name is another value's: write the name itself")
    if is_secret_name(variable) or is_secret_shape(os.environ.get(variable, "")):
        raise ConfigError(_refusal(key, f"it reads {variable}, which looks like a secret"))


def _check_variable(key: str, variable: str) -> None:
    _refuse_secret_variable(key, variable)
    if not _PLACES.fullmatch(key):
        raise ConfigError(
            f"{key} reads the environment variable {variable}: what it holds would be shown in tables, files and the "
            f"tracker; only paths and addresses may come from the environment, so write the value itself, or let your "
            f'shell put it in ({key}="${variable}")'
        )


def _find_set(text: str) -> str | None:
    """The variable with a secret's name that a line of shell code or an option gives a value, if there is one."""
    return next((name for name in _SET_IN_SHELL.findall(text) if is_secret_name(name)), None)


def _refusal(key: str, why: str) -> str:
    return (
        f"{key}: {why}, and a configuration is written to disk and shown: take it out, export the secret where the "
        f"command or the cluster is started, and name its variable where an option asks for one (api_key_env, "
        f"cluster.slurm.export)"
    )


def leaves_of(value: Any, key: str) -> Iterator[tuple[str, object]]:
    """Every value with its full key; those of a list under the list's key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves_of(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves_of(inner, key)
    else:
        yield key, value
