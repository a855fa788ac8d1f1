"""The reason in what Ray says: whole, to the end of its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eibench_ray.driver.failure_reasons import find_reason, name_keys

if TYPE_CHECKING:
    from conftest import Sweeps

# As Ray 2.60 words them, shortened where nobody reads.
LACKS = """[36mray::_look_around()[39m (pid=2254, ip=192.0.2.2)
RuntimeError: The remote function failed to import on the worker. This may be because ... sys.path ['/a']:

[36mray::_look_around()[39m (pid=2254, ip=192.0.2.2)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
ModuleNotFoundError: No module named 'eibench_ray'"""
INIT = """The actor died because of an error raised in its creation task, [36mray::E.__init__()[39m (pid=2447)
  File "/x/y.py", line 20, in __init__
    raise RuntimeError("no such")
                        ^^^^^^^^^^
RuntimeError: no such
thing at all: see there"""
KILLED = """The actor died unexpectedly before finishing this task.
	class_name: K
	actor_id: ea5afe44a4eb131a60e5527901000000
	pid: 2385
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR. Some common causes include: (1)
(2) ray stop --force was called"""


def test_a_node_that_lacks_the_package_is_said_to_lack_it() -> None:
    assert find_reason(LACKS) == (
        "ModuleNotFoundError: No module named 'eibench_ray' on its node, where the Python environment of this machine "
        "is to be, at the same path"
    )


def test_an_error_of_several_lines_is_whole() -> None:
    assert find_reason(INIT) == "RuntimeError: no such thing at all: see there"


def test_a_death_without_an_error_is_what_ray_knows_and_not_what_it_guesses() -> None:
    assert find_reason(KILLED) == (
        "The actor died unexpectedly before finishing this task. The actor is dead because its worker process has "
        "died. Worker exit type: SYSTEM_ERROR."
    )


def test_what_is_long_is_cut_and_says_so() -> None:
    assert find_reason("x" * 5000) == "x" * 1000 + "..."


def test_the_keys_of_an_engine_that_only_judges_are_the_judges(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    plan = sweeps.plan(sweeps.config(judge_engine={"fails_on": "never"})).plan
    told = {
        spec.name: name_keys("correct model.engine.base_url (judge.model.engine.model is right)", key, plan)
        for key, spec in plan.engines.items()
    }
    assert told == {
        "echo": "correct model.engine.base_url (judge.model.engine.model is right)",
        "strict_model": "correct judge.model.engine.base_url (judge.model.engine.model is right)",
    }
