"""Differences between vLLM's versions are found in each of them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from eibench_ray.engines.vllm.vllm_versions import carrying, forgetful_cache, no_template_error, refused_request_error

NEW, OLD = "vllm.renderers.chat_utils", "vllm.entrypoints.chat_utils"


class NoTemplateError(ValueError):
    """As vLLM's `ChatTemplateResolutionError`."""


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A vLLM without any module in which the error has been."""
    for name in ("vllm", "vllm.renderers", "vllm.entrypoints", "vllm.exceptions"):
        module = ModuleType(name)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["vllm"], "exceptions", sys.modules["vllm.exceptions"], raising=False)
    for name in (NEW, OLD):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("place", [NEW, OLD])
def test_the_error_of_a_missing_template_is_found_where_it_is(modules: pytest.MonkeyPatch, place: str) -> None:
    module: Any = ModuleType(place)
    module.ChatTemplateResolutionError = NoTemplateError
    modules.setitem(sys.modules, place, module)
    assert no_template_error() is NoTemplateError


def test_a_module_that_is_left_without_the_error_does_not_hide_it(modules: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType(OLD)
    module.ChatTemplateResolutionError = NoTemplateError
    modules.setitem(sys.modules, NEW, ModuleType(NEW))
    modules.setitem(sys.modules, OLD, module)
    assert no_template_error() is NoTemplateError


@pytest.mark.usefixtures("modules")
def test_a_version_without_the_error_takes_no_other_for_it() -> None:
    assert not issubclass(ValueError, no_template_error())
    assert not issubclass(no_template_error(), ValueError)


def test_a_refused_request_is_a_value_error_in_older_versions(modules: pytest.MonkeyPatch) -> None:
    assert refused_request_error() is ValueError
    modules.setattr(sys.modules["vllm.exceptions"], "VLLMClientError", NoTemplateError, raising=False)
    assert refused_request_error() is NoTemplateError


def test_older_renderers_carry_and_forget_no_picture() -> None:
    def older(messages: list[Any], params: Any) -> None: ...

    def newer(messages: list[Any], params: Any, *, skip_mm_cache: bool = False) -> None: ...

    assert carrying(SimpleNamespace(render_chat_async=older)) == {}
    assert carrying(SimpleNamespace(render_chat_async=newer)) == {"skip_mm_cache": True}
    assert forgetful_cache(SimpleNamespace()) is None
    assert forgetful_cache(SimpleNamespace(mm_processor_cache=SimpleNamespace())) is None
    cache = SimpleNamespace(invalidate=print)
    assert forgetful_cache(SimpleNamespace(mm_processor_cache=cache)) is cache


@pytest.mark.slow  # it imports vLLM
def test_the_vllm_that_is_installed_has_what_is_looked_for() -> None:
    pytest.importorskip("vllm", reason="the engine needs eibench-ray[cpu] or [gpu]")
    assert no_template_error().__name__ == "ChatTemplateResolutionError"
    assert refused_request_error().__name__ == "VLLMClientError"
