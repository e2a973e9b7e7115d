"""Ray: the desk of an asynchronous trainer as a named actor that any process of the cluster can call.

    from didact.adapters.ray import RemoteDesk, curriculum_actor

    desk = curriculum_actor("curriculum", build, folder="/shared/desk", max_lag=4)    # once, say in the driver
    desk = RemoteDesk("curriculum")                                                   # anywhere else
    work = desk.ask()                                                                 # as with didact.Dispatcher

With a `folder` the actor is restarted by Ray whenever its process or node dies, and goes on from the folder with
nothing lost; calls that were under way are made again. That is safe because every call may be repeated: a report by its
lease and part, an ask and an admission by a request number that the client adds. The folder must lie where the
restarted actor can read it: on a file system of all nodes, or with the actor bound to one.

Ray carries calls and answers; what it pickles for that is Ray's affair and is kept nowhere. Rollouts never pass through
the actor, only rewards and counts do.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from didact.curriculum import Curriculum
from didact.desk import Assignment, Dispatcher, Receipt
from didact.methods import make
from didact.pass_rates import PassRates
from didact.plan import AdmittedGroup
from didact.prompts import PromptPool

Build = Callable[[], Curriculum] | Mapping[str, Any]
_CALLS: tuple[str, ...] = ("ask_many", "report", "report_many", "lost", "advance", "admitted")
_CALLS += ("open_groups", "pass_rates", "metrics", "state_dict", "load_state_dict")
_PAUSE_SECONDS = 0.2


def curriculum_actor(
    name: str,
    build: Build,
    *,
    folder: str | None = None,
    namespace: str | None = None,
    detached: bool = False,
    patience: float = 300.0,
    actor_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> "RemoteDesk":
    """Start the actor `name`, or find it if it runs.

    Args:
        build: gives the curriculum, in the actor's process and again after each restart: a function that can be
            imported there, or a dict of `method`, `ids` and the method's options.
        folder: where the actor keeps its state. None keeps nothing: if the actor dies, that is the end, said loudly.
        detached: the actor outlives the driver. If not, it lives as long as what this returns.
        patience: seconds that a call waits for an actor that is being restarted.
        actor_options: further options of the Ray actor, such as `resources` or `scheduling_strategy`.
        options: those of `didact.Dispatcher`.

    Raises:
        ValueError, TypeError: what the curriculum or the dispatcher refuses.
    """
    restarts = 0 if folder is None else -1
    actor = (
        ray.remote(_Desk)
        .options(
            name=name,
            namespace=namespace,
            lifetime="detached" if detached else None,
            get_if_exists=True,
            max_restarts=restarts,
            max_task_retries=restarts,
            **{"num_cpus": 0, **(actor_options or {})},
        )
        .remote(build, {**options, "folder": folder})
    )
    refused = ray.get(actor.refused.remote())
    if refused is not None:
        ray.kill(actor)
        raise refused
    return RemoteDesk(name, namespace=namespace, patience=patience, actor=actor)


class RemoteDesk:
    """The calls of `didact.Dispatcher`, made through the actor. It may be sent to other processes.

    Args:
        name: that of the actor.
        namespace: Ray's, where it is not the caller's own.
        patience: seconds that a call waits for an actor that is dead, unreachable or being restarted.
        actor: the actor's handle, where it is at hand.

    Every call raises what the desk raises, and ConnectionError when the actor was not there for `patience` seconds.
    """

    def __init__(self, name: str, *, namespace: str | None = None, patience: float = 300.0, actor: Any = None) -> None:
        self.name, self.namespace, self.patience = name, namespace, patience
        self._actor = actor
        self._me = uuid.uuid4().hex
        self._requests = itertools.count()

    def __reduce__(self) -> tuple[Any, ...]:
        return _desk, (self.name, self.namespace, self.patience)  # another process has requests of its own

    def ask(self, worker: str | None = None) -> Assignment | None:
        """As `Dispatcher.ask`; the worker is this process of Ray's unless it is named."""
        found = self.ask_many(1, worker)
        return found[0] if found else None

    def ask_many(self, num: int, worker: str | None = None) -> list[Assignment]:
        worker = worker if worker is not None else ray.get_runtime_context().get_worker_id()
        leases: list[Assignment] = self._call("ask_many", num=num, worker=worker, request=self._request())
        return leases

    def report(self, lease: int, rewards: Sequence[float], **columns: Any) -> Receipt:
        receipt: Receipt = self._call("report", lease=lease, rewards=list(rewards), **columns)
        return receipt

    def report_many(self, reports: Sequence[Mapping[str, Any]]) -> list[Receipt]:
        receipts: list[Receipt] = self._call("report_many", reports=list(reports))
        return receipts

    def lost(self, worker: str) -> int:
        concerned: int = self._call("lost", worker=worker)
        return concerned

    def advance(self, version: int) -> None:
        self._call("advance", version=version)

    def admitted(self) -> list[AdmittedGroup]:
        groups: list[AdmittedGroup] = self._call("admitted", request=self._request())
        return groups

    def open_groups(self) -> list[int]:
        groups: list[int] = self._call("open_groups")
        return groups

    def pass_rates(self) -> PassRates:
        rates: PassRates = self._call("pass_rates")
        return rates

    def metrics(self) -> dict[str, float]:
        metrics: dict[str, float] = self._call("metrics")
        return metrics

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._call("state_dict")
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._call("load_state_dict", state=dict(state))

    def _request(self) -> str:
        return f"{self._me}-{next(self._requests)}"

    def _call(self, method: str, **given: Any) -> Any:
        end = time.monotonic() + self.patience
        while True:
            try:
                return ray.get(self._handle().call.remote(method, given))
            except RayTaskError as error:
                raise error.cause from error
            except (RayActorError, LookupError) as error:
                # Ray retries what was under way at a restart by itself. Here the actor itself is gone or out of reach:
                # somebody may start it again under its name.
                self._actor = None
                if time.monotonic() > end:
                    raise ConnectionError(
                        f"the curriculum actor {self.name!r} was not there for {self.patience:.0f} seconds: {error}"
                    ) from error
                time.sleep(_PAUSE_SECONDS)

    def _handle(self) -> Any:
        if self._actor is None:
            try:
                self._actor = ray.get_actor(self.name, namespace=self.namespace)
            except ValueError as error:
                raise LookupError(str(error)) from error
        return self._actor


class _Desk:
    """The actor: a dispatcher, and what it said if it could not be built."""

    def __init__(self, build: Build, options: Mapping[str, Any]) -> None:
        self._refused: Exception | None = None
        try:
            self._desk = Dispatcher(_built(build), **options)
        except (ValueError, TypeError, OSError) as error:  # Ray would only say that the actor died
            self._refused = error

    def refused(self) -> Exception | None:
        return self._refused

    def call(self, method: str, given: Mapping[str, Any]) -> Any:
        if self._refused is not None:
            raise self._refused
        if method not in _CALLS:
            raise ValueError(f"a desk has no call {method!r}; calls: {', '.join(sorted(_CALLS))}")
        return getattr(self._desk, method)(**given)


def _built(build: Build) -> Curriculum:
    if not isinstance(build, Mapping):
        return build()
    options = dict(build)
    try:
        method, ids = options.pop("method"), options.pop("ids")
    except KeyError as error:
        raise ValueError(f"the dict that builds a curriculum has no {error}: give method, ids and options") from None
    return make(method, PromptPool(ids), **options)


def _desk(name: str, namespace: str | None, patience: float) -> RemoteDesk:
    return RemoteDesk(name, namespace=namespace, patience=patience)
