"""A replica's share of its GPUs' memory, and the fewest GPUs that have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.engines.engine_kind import Site
from eibench_ray.engines.engine_memory import OVERHEAD_GB, PROCESS_RAM_GB, GpuNodes, expected_nodes
from eibench_ray.engines.transformers.transformers_kind import KIND
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.engines.vllm.vllm_kind import KIND as VLLM
from eibench_ray.engines.vllm.vllm_memory import choose_num_seqs, choose_tensor_parallel, find_ram_gb, fit_vllm
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.errors import PlanError
from eibench_ray.plan.engine_traits import Adapter
from eibench_ray.plan.graph import MemoryFit
from eibench_ray.schedule.resources import Node, Resources
from eibench_ray.weights.memory_estimate import MemoryEstimate

# 60 GB of weights, 10 GB of cache for its longest sequence, 56 heads, 8 of them with keys and values.
LARGE = MemoryEstimate(60.0, "checkpoint", 0.01, 56, 8)


def engine(**options: Any) -> VllmSection:
    base = {"kind": "vllm", "source": "me/eye", "max_model_len": 1000, "gpu_memory_utilization": 1.0}
    return VllmSection.model_validate(base | options)


def cluster(gpu_memory_gb: float, gpus_per_node: int = 8) -> ClusterConfig:
    return ClusterConfig.model_validate(
        {"name": "here", "gpu_memory_gb": gpu_memory_gb, "expect": {"gpus_per_node": gpus_per_node}}
    )


def fit(
    section: VllmSection,
    memory: MemoryEstimate,
    where: ClusterConfig,
    known: GpuNodes | None = None,
    adapters: tuple[Adapter, ...] = (),
) -> MemoryFit:
    return fit_vllm(section, Site("eye", "cuda", where, nodes=known, adapters=adapters), memory)


def choose(
    section: VllmSection, memory: MemoryEstimate | None, where: ClusterConfig, known: GpuNodes | None = None
) -> int:
    return choose_tensor_parallel(section, Site("eye", "cuda", where, memory, known))


@pytest.mark.parametrize(
    ("options", "needed_gb"),
    [
        ({}, 60 + 10),
        ({"tensor_parallel": 4}, 15 + 2.5),
        ({"tensor_parallel": 2, "pipeline_parallel": 4}, 7.5 + 1.25),
        ({"max_model_len": 500}, 60 + 5),
        ({"kv_cache_gib": 20.0}, 60 + 20 * 1.073741824),
        ({"kv_cache_gib": 1.0}, 60 + 10),
    ],
)
def test_a_gpu_needs_its_share_of_weights_and_cache(options: dict[str, Any], needed_gb: float) -> None:
    found = fit(engine(**options), LARGE, cluster(80))
    assert found.gpu_memory_gb == pytest.approx(needed_gb + OVERHEAD_GB)
    assert (found.weights_gb, found.available_gb, found.source) == (60, 80, "checkpoint")


def test_more_gpus_than_heads_keep_copies_of_the_cache() -> None:
    narrow = MemoryEstimate(60.0, "checkpoint", 0.01, 56, 2)
    latent = MemoryEstimate(60.0, "checkpoint", 0.01, 56, 1)
    needs = [fit(engine(tensor_parallel=4), memory, cluster(80)).gpu_memory_gb for memory in (narrow, latent)]
    assert needs == pytest.approx([15 + 5 + OVERHEAD_GB, 15 + 10 + OVERHEAD_GB])


def test_only_the_share_that_vllm_may_use_counts() -> None:
    found = fit(engine(gpu_memory_utilization=0.5), LARGE, cluster(80))
    assert found.gpu_memory_gb == 2 * (60 + 10 + OVERHEAD_GB)
    assert not found.fits


@pytest.mark.parametrize(
    ("options", "needed_gb"),
    [({}, 60), ({"max_model_len": 1000}, 60 + 10), ({"max_model_len": 1000, "num_gpus": 4}, 15 + 2.5)],
)
def test_transformers_spreads_layers_with_their_cache(options: dict[str, Any], needed_gb: float) -> None:
    spread = TransformersSection.model_validate({"kind": "transformers", "source": "me/eye"} | options)
    fit = KIND.needs(spread, Site("eye", "cuda", cluster(80), LARGE)).memory
    assert fit is not None
    assert fit.gpu_memory_gb == pytest.approx(needed_gb + OVERHEAD_GB)


def test_what_the_cluster_expects_counts_where_its_gpus_are_not_given() -> None:
    expected = ClusterConfig.model_validate({"name": "here", "expect": {"gpu_memory_gb": 141.0}})
    assert fit(engine(), LARGE, expected).available_gb == 141


@pytest.mark.parametrize(
    ("gpu_memory_gb", "chosen"), [(141, 1), (73.1, 1), (72.9, 2), (38.1, 2), (37.9, 4), (20.6, 4), (20.4, 8)]
)
def test_auto_takes_the_fewest_gpus_that_suffice(gpu_memory_gb: float, chosen: int) -> None:
    assert choose(engine(), LARGE, cluster(gpu_memory_gb)) == chosen


def test_auto_counts_the_stages_of_a_pipeline() -> None:
    staged = engine(pipeline_parallel=2)
    assert [choose(staged, LARGE, cluster(gb)) for gb in (40, 24)] == [1, 2]


@pytest.mark.parametrize(
    ("num_heads", "num_kv_heads", "chosen"),
    [(56, 8, 4), (32, 2, 4), (32, 1, 4), (None, None, 4), (40, 40, 4), (20, 10, None), (9, 3, None), (24, 6, None)],
)
def test_auto_divides_heads_as_vllm_does(num_heads: int | None, num_kv_heads: int | None, chosen: int | None) -> None:
    memory = MemoryEstimate(60.0, "checkpoint", 0.0, num_heads, num_kv_heads)
    if chosen is None:
        with pytest.raises(PlanError, match="fits on no number of GPUs"):
            choose(engine(), memory, cluster(20, gpus_per_node=4))
    else:
        assert choose(engine(), memory, cluster(20, gpus_per_node=4)) == chosen


def test_what_fits_on_no_node_says_what_it_has_and_what_to_do() -> None:
    with pytest.raises(
        PlanError,
        match=r"model 'eye' with tensor_parallel=auto fits on no number of GPUs of one node: it has 60 GB of weights "
        r"and 10 GB of KV cache per 1,000 tokens, and a node has 4 GPUs of 16 GB \(cluster.gpu_memory_gb\), "
        r".*: lower model.engine.max_model_len,"
        r" .*quantised.* raise model.engine.pipeline_parallel \(now 1\) .* larger GPUs",
    ):
        choose(engine(), LARGE, cluster(16, gpus_per_node=4))


def test_what_is_not_known_takes_one_gpu() -> None:
    assert choose(engine(), None, cluster(1)) == 1


def test_a_prior_knows_no_cache() -> None:
    prior = MemoryEstimate(60.0, "expect")
    assert fit(engine(), prior, cluster(80)).kv_gb is None
    assert choose(engine(), prior, cluster(40)) == 2
    with pytest.raises(PlanError, match=r"it has 60 GB of weights, and a node has 8 GPUs of 4 GB"):
        choose(engine(), prior, cluster(4))


def nodes(*sizes: tuple[int, float]) -> GpuNodes:
    return GpuNodes(
        tuple(Node(str(at), str(at), Resources(8, gpus), gb) for at, (gpus, gb) in enumerate(sizes)), "here"
    )


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        (nodes((8, 141)), 1),
        (nodes((8, 80)), 1),
        (nodes((8, 40)), 2),
        (nodes((2, 40), (2, 40), (2, 40), (1, 80)), 2),  # six GPUs are of use, and with one each but one
        (nodes((1, 24), (4, 80)), 1),  # the small GPU is left alone
        (nodes((8, 24), (1, 80)), 4),
        (nodes((8, 0.0)), 2),  # not known: as expected
    ],
)
def test_the_nodes_of_the_run_decide_where_they_are_known(known: GpuNodes, chosen: int) -> None:
    assert choose(engine(), LARGE, ClusterConfig(name="x", gpu_memory_gb=40), known) == chosen


def test_a_model_that_fits_on_no_node_names_the_largest_and_whence_it_is_known() -> None:
    with pytest.raises(PlanError, match=r"a node has 2 GPUs of 24 GB \(here\)"):
        choose(engine(), LARGE, cluster(80), nodes((2, 24), (1, 16)))


def test_what_fits_says_whence_the_memory_is_known() -> None:
    assert fit(engine(), LARGE, cluster(80), nodes((8, 24), (1, 141))).available_gb == 141
    assert fit(engine(), LARGE, cluster(80), nodes((1, 24))).gpus_from == "here"
    assert fit(engine(), LARGE, cluster(80)).gpus_from == "cluster.gpu_memory_gb"
    assert expected_nodes(ClusterConfig(name="x")).source == "cluster.expect"


def test_copies_have_all_but_the_experts_which_they_share() -> None:
    mixture = MemoryEstimate(60.0, "checkpoint", 0.01, 56, 8, num_experts=16, experts_gb=48.0)
    copied = engine(data_parallel=4, tensor_parallel=2, expert_parallel=True)
    found = fit(copied, mixture, cluster(80))
    assert copied.num_gpus == 8
    assert found.gpu_memory_gb == pytest.approx(12 / 2 + 48 / 8 + 10 / 2 + OVERHEAD_GB)
    assert found.weights_gb == pytest.approx(4 * 12 + 48)


def test_copies_lie_on_one_node() -> None:
    copied = engine(data_parallel=4, tensor_parallel="auto")
    mixture = MemoryEstimate(60.0, "checkpoint", 0.01, 56, 8, num_experts=16, experts_gb=48.0)
    assert choose(copied, mixture, cluster(30)) == 2  # 12 + 12 + 10 + 3 GB on each of 4 GPUs are too many
    with pytest.raises(PlanError, match="fits on no number of GPUs"):
        choose(copied, mixture, cluster(30, gpus_per_node=4))


@pytest.mark.parametrize(
    ("options", "num_loras", "added_gb"),
    [
        ({}, 2, 2 * 16 * 0.01),
        ({"tensor_parallel": 4}, 2, 2 * 16 * 0.01 * (1 + 1 / 4) / 2),
        ({"tensor_parallel": 4, "args": {"fully_sharded_loras": True}}, 2, 2 * 16 * 0.01 / 4),
        ({"args": {"max_loras": 1}}, 2, 16 * 0.01),
        ({}, 0, 0),
    ],
)
def test_adapters_take_room_for_the_largest_rank(options: dict[str, Any], num_loras: int, added_gb: float) -> None:
    base = MemoryEstimate(60.0, "checkpoint", 0.01, 56, 8, adapter_gb_per_rank=0.01)
    adapters = tuple(Adapter(f"{number}", "fine", "me/added", None, 9 + number) for number in range(num_loras))
    section = engine(**options)
    without = fit(section, base, cluster(80)).gpu_memory_gb
    assert fit(section, base, cluster(80), adapters=adapters).gpu_memory_gb - without == pytest.approx(added_gb)


def test_experts_are_dealt_out_only_where_there_are_some() -> None:
    dealt = engine(tensor_parallel=2, expert_parallel=True)
    with pytest.raises(PlanError, match=r"'eye' has expert_parallel, but me/eye has no experts"):
        VLLM.needs(dealt, Site("eye", "cuda", cluster(80), LARGE))
    mixture = replace(LARGE, num_experts=8)
    assert VLLM.needs(dealt, Site("eye", "cuda", cluster(80), mixture)).num_gpus == 2


def test_experts_of_one_gpu_cannot_be_dealt_out() -> None:
    with pytest.raises(ValueError, match="tensor_parallel x data_parallel GPUs, and both are 1"):
        engine(expert_parallel=True)


def test_copies_work_on_a_batch_each_and_lie_together() -> None:
    traits = VLLM.traits(engine(data_parallel=3, pipeline_parallel=2, max_num_seqs=10))
    assert (traits.max_num_seqs, traits.stages) == (30, 1)


# LLaMA-3-8B: 32 layers with 8 heads of 128 keys and values of 2 bytes.
LLAMA = MemoryEstimate(16.1, "checkpoint", 32 * 8 * 128 * 2 * 2 / 1e9, 32, 8)


@pytest.mark.parametrize(
    ("options", "gpu_memory_gb", "most_images", "expected"),
    [
        ({}, 80.0, 0, 788),
        ({}, 141.0, 0, 1024),  # 1,606 would fit
        ({}, 24.0, 0, 64),  # 37 would
        ({"tensor_parallel": 2}, 40.0, 0, 743),
        ({"kv_cache_gib": 20.0}, 80.0, 0, 320),
        ({"max_model_len": 256}, 48.0, 0, 718),
        ({}, 40.0, 1, 125),
        ({}, 80.0, 1, 256),  # 394 would fit
    ],
)
def test_a_batch_is_as_large_as_the_cache_beside_the_weights(
    options: dict[str, Any], gpu_memory_gb: float, most_images: int, expected: int
) -> None:
    section = engine(**{"max_model_len": 8192, "gpu_memory_utilization": 0.9, "max_num_seqs": "auto"} | options)
    site = Site("judge", "cuda", cluster(gpu_memory_gb), LLAMA, most_images=most_images)
    assert VLLM.needs(section, site).chosen == {"max_num_seqs": expected}


def test_a_batch_is_the_default_where_the_cache_is_not_known() -> None:
    site = Site("judge", "cuda", cluster(80), MemoryEstimate(16.1, "expect"))
    assert choose_num_seqs(engine(max_num_seqs="auto"), site) == 256
    assert VLLM.needs(engine(max_num_seqs="auto"), Site("judge", "cpu", cluster(80))).chosen == {}


def test_ram_of_a_replica_on_cores_is_known_where_its_cache_has_a_size() -> None:
    assert find_ram_gb(engine(), LARGE) == 0.0
    assert find_ram_gb(engine(kv_cache_gib=2.0), LARGE) == pytest.approx(60 + 2 * 1.0737 + PROCESS_RAM_GB, abs=0.01)


@pytest.mark.parametrize(("known_kv", "max_model_len", "ram_gb"), [(True, 100, 76), (False, 100, 0), (True, None, 0)])
def test_ram_in_transformers_is_that_of_a_batch_of_longest_sequences(
    known_kv: bool, max_model_len: int | None, ram_gb: float
) -> None:
    memory = LARGE if known_kv else replace(LARGE, kv_gb_per_token=None)
    keys = {"kind": "transformers", "source": "me/eye", "max_num_seqs": 16, "max_model_len": max_model_len}
    found = KIND.ram_gb(TransformersSection.model_validate(keys), memory)
    assert found == pytest.approx(ram_gb + PROCESS_RAM_GB * (ram_gb > 0))
