"""Declaration of an engine kind: all that the rest of the package knows of it.

A kind is a subclass of `EngineKind` and one instance of it, found by name: in this package's table, or by the entry
point `eibench_ray.engines` of an installed package. What it says nothing of has a default that is safe, but for these:
without `section`, `traits`, `needs` and `create` it is refused, and so is a section with a key that does not say
whether answers depend on it. No engine gets a number of GPUs, or a name for its answers, by accident.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engine_section import EngineSection, identity_of
from eibench_ray.engines.engine import Engine
from eibench_ray.engines.engine_memory import GpuNodes
from eibench_ray.engines.sampling_support import SamplingRefusal, find_refusal
from eibench_ray.engines.sent_prompt import SentPrompt
from eibench_ray.plan.engine_traits import Adapter, EngineTraits
from eibench_ray.plan.graph import Blocker, EngineSpec, MemoryFit
from eibench_ray.rows.request import Request, Sampling

if TYPE_CHECKING:
    from eibench_ray.ratelimit.rate_limiter import RateLimiter
    from eibench_ray.storage.interface import Storage
    from eibench_ray.weights.adapter_weights import LoadedAdapter
    from eibench_ray.weights.memory_estimate import MemoryEstimate
    from eibench_ray.weights.node_weights import Weights
    from eibench_ray.weights.weights_request import WeightsRequest

S = TypeVar("S", bound=EngineSection)
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Site:
    """Device and cluster on which an engine's replicas would run."""

    model: str  # the model's name, for errors
    device: Device
    cluster: ClusterConfig
    memory: MemoryEstimate | None = None  # what the engine takes of its GPUs' memory; None: not known, or it owns none
    nodes: GpuNodes | None = None  # the run's nodes with GPUs; None: as the configuration of the cluster expects them
    adapters: tuple[Adapter, ...] = ()  # that requests to the engine name
    most_images: int = 0  # pictures of one request at most

    @property
    def has_gpus(self) -> bool:
        """Whether replicas own GPUs there, or what stands in for them in a rehearsal."""
        return self.device == "cuda" or self.cluster.gpu_resource != "GPU"


@dataclass(frozen=True, slots=True)
class Needs:
    """GPUs and memory that one replica of an engine takes.

    Attributes:
        chosen: settings that are `auto` in the section, as they are chosen for this site.
    """

    num_gpus: int  # GPUs that it owns
    memory: MemoryFit | None = None  # how it fits into them; None: it owns none, or that is not known
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts that decide whether an engine can run."""

    environ: Mapping[str, str]  # of this process
    today: date  # when it would run
    is_local: bool  # whether it would run on this machine; what the nodes of a joined cluster have is not known here


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """Arguments with which an engine is created, beside its section.

    Attributes:
        weights: what `EngineKind.weights` asked for; None: it asked for none, or they are taken as configured.
    """

    device: Device
    num_gpus: int  # GPUs that its replica owns
    recording: str | None  # the file that `EngineKind.recording` named
    limiter: RateLimiter  # lets requests to an endpoint through
    weights: Weights | None
    batches: PurePath  # the folder of what was sent to a batch endpoint, in `storage`
    storage: Storage
    most_images: int = 0  # pictures of one request at most
    adapters: tuple[LoadedAdapter, ...] = ()  # that its requests name


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """An engine's columns in tables of models, `-` where there is nothing to say."""

    runs_by: str
    place: str = "-"
    revision: str = "-"
    dtype: str = "-"
    prompt_format: str = "-"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Address on which a kind's own server is to listen."""

    host: str
    port: int
    served_name: str  # what a request calls the model
    has_key: bool  # whether it has to ask for a key, on every path but /health


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """Command of a kind's own server: an OpenAI-compatible one, whose /health answers once it is ready.

    Attributes:
        arguments: what follows `python`. The key is not in it: everybody on the machine may read a command line.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # variables that it needs, where they are not set


class EngineKind(ABC, Generic[S]):
    """One kind of engine."""

    section: type[S]  # its section of the configuration, whose `kind` is a Literal of its name
    compares_choices: bool = False  # whether it tells how likely given choices are after a prompt
    server_key: str = ""  # the variable in which its own server looks for its key; empty: it has no server

    @abstractmethod
    def traits(self, section: S) -> EngineTraits:
        """Traits of the engine, for plans, schedules and reports."""

    def identity(self, section: S, recording: str | None) -> Mapping[str, Any]:  # noqa: ARG002 - most read none
        """All that an answer can depend on, as plain values: equal ones make two engines one.

        By default the keys of the section that are `Identity`; a kind adds what they stand for (weights, files,
        versions).

        Args:
            section: as configured.
            recording: the file that `recording` named.

        Raises:
            PlanError: a file that the section names is not there.
        """
        return identity_of(section)

    @abstractmethod
    def needs(self, section: S, site: Site) -> Needs:
        """The GPUs that one replica owns.

        Raises:
            PlanError: no node has enough of them.
        """

    @abstractmethod
    def create(self, section: S, setup: EngineSetup) -> Engine:
        """An engine that has not started yet; what it stands on is imported here, not with this module."""

    def recording(self, section: S, name: str) -> str | None:  # noqa: ARG002 - most read none
        """The file of recorded replies that it reads for a cell; None: it reads none.

        Args:
            section: as configured.
            name: of the cell's part, in a file's name.
        """
        return None

    def base(self, section: S) -> S:
        """The section of what is loaded: models that differ in their adapters alone share one engine."""
        return section

    def adapter(self, section: S) -> Adapter | None:  # noqa: ARG002 - most take none
        """The adapter that the model's requests name; None: its engine answers as it is loaded.

        Raises:
            PlanError: it does not belong to what is loaded, as far as both are on this machine.
        """
        return None

    def adapter_weights(self, adapter: Adapter) -> WeightsRequest:
        """The files of an adapter; only of a kind that takes some."""
        raise NotImplementedError

    def weights(self, section: S) -> WeightsRequest | None:  # noqa: ARG002 - most load none
        """The weights that it loads; None: none."""
        return None

    def sampling_refusal(self, section: S, sampling: Sampling) -> SamplingRefusal | None:  # noqa: ARG002
        """The first key of a call's sampling that it cannot do; None: it can do all.

        Temperature, top_p, limit and stop texts are none of these keys. By default it can do nothing else; a kind that
        can says so by `find_refusal`.
        """
        return find_refusal(sampling)

    def memory(self, section: S) -> MemoryEstimate | None:  # noqa: ARG002 - most take none
        """GPU memory that it takes, by its weights' metadata; None: not known."""
        return None

    def ram_gb(self, section: S, memory: MemoryEstimate) -> float:  # noqa: ARG002 - most compute nothing on cores
        """GB of RAM that one replica takes on cores, as far as that is known; 0: not known, and it stays the only one.

        Args:
            section: as configured.
            memory: of its weights and its KV cache.
        """
        return 0.0

    def blocker(
        self,
        section: S,  # noqa: ARG002 - most need nothing
        spec: EngineSpec,  # noqa: ARG002
        around: Surroundings,  # noqa: ARG002
    ) -> Blocker | None:
        """The reason why it cannot run, beside weights that are not there; None where it can."""
        return None

    def lacks_chat_template(self, section: S, folder: Path) -> bool:  # noqa: ARG002 - most read none
        """Whether it surely finds no chat template in the folder of its checkpoint."""
        return False

    def cpu_build(self, section: S, device: Device, installed: str | None) -> str:  # noqa: ARG002 - most have one build
        """The installed build that makes it run on cores although GPUs may be there; empty where none does.

        Args:
            section: as configured.
            device: where it is planned to run.
            installed: the vLLM of the sweep's own Python.
        """
        return ""

    def packages(self, section: S) -> str:  # noqa: ARG002 - most need none
        """The packages that `check_installed` looks for, in a word; empty where there are none."""
        return ""

    def check_installed(self, section: S) -> None:
        """Returns if this machine, whose packages are those of every node, has what it imports.

        Raises:
            ConfigError: a package is missing, with what to install.
        """

    def variables(self, section: S, device: Device, replica_id: int) -> Mapping[str, str]:  # noqa: ARG002 - most need none
        """Environment variables of a replica's process, beside those that the section sets."""
        return {}

    def spread(self, section: S, num_bundles: int) -> Mapping[str, Any]:  # noqa: ARG002 - most lie in one process
        """Settings to change for a replica on several GPUs, in so many parts of its placement group."""
        return {}

    def server(
        self,
        section: S,
        device: Device,
        weights: Weights,
        address: ServerAddress,
        adapters: Sequence[LoadedAdapter] = (),
    ) -> ServerCommand:
        """The command of its own server.

        Args:
            section: as configured.
            device: where it is to run.
            weights: what `weights` asked for, here by now.
            address: where it is to listen.
            adapters: the model's own, where it has one: then it answers under the model's name.

        Raises:
            EngineError: it cannot be served so.
        """
        raise NotImplementedError

    def show_sent(
        self,
        section: S,  # noqa: ARG002 - most change nothing
        weights: Weights | None,  # noqa: ARG002
        asked: Sequence[tuple[Request, Sequence[bytes]]],  # noqa: ARG002
    ) -> list[SentPrompt] | None:
        """The requests as it sends them; None: a request is sent as it stands. Nothing is asked, no weights are loaded.

        Args:
            section: as configured.
            weights: what `weights` asked for, here by now.
            asked: requests, each with the bytes of its pictures.

        Raises:
            EngineError: they cannot be made here, with the reason.
        """
        return None

    def describe(self, section: S) -> EngineDescription:
        """Its columns in tables of models."""
        return EngineDescription(section.kind)
