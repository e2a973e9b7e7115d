"""The recipe for prime-rl: its logic on plain episodes, and on prime-rl's own orchestrator where that can be imported.

prime-rl is not on the package index. With its source (`src` and `packages/prime-rl-configs/src`) on PYTHONPATH and
verifiers, msgspec, aiolimiter, orjson and wandb installed, the second half runs prime-rl's TrainSource, Dispatcher,
TrainSink, GRPO and checkpoints; environments and inference servers are stand-ins, and `Orchestrator` is only read.
"""

import asyncio
import importlib.util
import random
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from didact import make
from didact.admission import AdmitWithSignal

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("prime_rl_recipe", ROOT / "examples" / "trainers" / "prime_rl_recipe.py")
recipe = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recipe)

SIZE = 4


def built(pool, group_size, method="mopps", more=0, **options):
    options = {"admission": AdmitWithSignal(), "seed": 5} | options
    return make(method, pool, prompts_per_step=6, rollouts_per_step=6 * group_size + more, **options)


def rate(number):
    return number / 12


# Plain objects -------------------------------------------------------------------------------------------------------


def plain_source(names=("math", "code"), sizes=(SIZE, SIZE), num_tasks=12, **options):
    envs = [
        SimpleNamespace(name=name, num_tasks=num_tasks, sampling_args={}, config=SimpleNamespace(group_size=size))
        for name, size in zip(names, sizes, strict=True)
    ]
    tasks = {name: [SimpleNamespace(key=f"task-{number}", number=number) for number in range(12)] for name in names}
    curricula = {name: SimpleNamespace(sampler=SimpleNamespace(tasks=each)) for name, each in tasks.items()}
    source = SimpleNamespace(envs=envs, curricula=curricula)
    return recipe.CurriculumSource(source, partial(built, **options), SimpleNamespace)


def plain_trace(reward, failed=False, trainable=True, tokens=10, cut=False):
    agent = SimpleNamespace(trainable=trainable)
    return SimpleNamespace(reward=reward, has_error=failed, agent=agent, num_output_tokens=tokens, is_truncated=cut)


def plain_group(request, rewards):
    env, task = SimpleNamespace(name=request.env_name), SimpleNamespace(key=request.task.key)
    return [SimpleNamespace(env=env, task=task, traces=[plain_trace(reward)]) for reward in rewards]


def test_tasks_are_asked_for_and_told_of_and_groups_without_signal_are_rejected():
    source, draw = plain_source(), random.Random(0)
    waiting, answers = [], []
    for step in range(40):
        waiting += [source.next_task(step=step + 1) for _ in range(5)]
        draw.shuffle(waiting)
        while len(waiting) > 3:  # late, and in any order
            request = waiting.pop()
            rewards = [float(draw.random() < rate(request.task.number)) for _ in range(SIZE)]
            answers.append((source.on_result(plain_group(request, rewards)), len(set(rewards)) > 1))
    assert all(admitted == signal for admitted, signal in answers)
    assert {signal for _, signal in answers} == {True, False}
    metrics = source.metrics()
    assert metrics["curriculum/rollouts"] == SIZE * len(answers)
    told = metrics["curriculum/rollouts"] + metrics["curriculum/rollouts_in_flight"]
    assert metrics["curriculum/rollouts_planned"] == told
    assert metrics["curriculum/groups_trained"] == sum(admitted for admitted, _ in answers)


def test_errors_truncation_and_frozen_agents_are_told_apart():
    source = plain_source()
    request = source.next_task(step=1)
    group = plain_group(request, [1.0, 0.0, 0.0])  # the fourth was cancelled
    group[1].traces = [plain_trace(0.0, failed=True)]
    group[2].traces = [plain_trace(0.0, tokens=7, cut=True), plain_trace(1.0, trainable=False)]
    assert source.on_result(group)
    metrics = source.metrics()
    assert metrics["curriculum/rollouts"] == SIZE
    assert metrics["curriculum/rollouts_errored"] == 2
    assert metrics["curriculum/rollouts_truncated"] == 1
    assert metrics["curriculum/response_tokens"] == 27
    assert metrics["curriculum/groups_with_signal"] == 1


def test_a_group_that_never_comes_back_is_rolled_out_again():
    source = plain_source()
    now = [0.0]
    source.desk._clock = lambda: now[0]
    first = source.next_task(step=1)
    now[0] += 7201
    again = source.next_task(step=9)
    assert again.task is first.task
    source.on_result(plain_group(again, [1.0, 0.0, 1.0, 0.0]))
    source.on_result(plain_group(first, [0.0, 0.0, 1.0, 0.0]))  # it comes after all
    metrics = source.metrics()
    assert metrics["curriculum/rollouts"] == 2 * SIZE
    assert metrics["curriculum/rollouts_lost"] == 0


def test_a_resumed_orchestrator_rolls_out_again_what_was_in_flight():
    source = plain_source()
    requests = [source.next_task(step=1) for _ in range(4)]
    source.on_result(plain_group(requests[0], [1.0, 0.0, 1.0, 0.0]))
    resumed = plain_source()
    resumed.load_state_dict(source.state_dict())
    again = [resumed.next_task(step=2) for _ in range(3)]
    assert [(each.env_name, each.task.key) for each in again] == [(e.env_name, e.task.key) for e in requests[1:]]
    assert source.state_dict()["envs"] == ["math", "code"]  # prime-rl's CheckpointManager reads the names


def test_the_context_length_goes_to_the_source():
    source = plain_source(context=512)
    request = source.next_task(step=1)
    assert source.envs[request.env_name].sampling_args == {"max_completion_tokens": 512}


def test_what_prime_rl_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"share a group_size and end: got sizes \[4, 8\]"):
        plain_source(sizes=(4, 8))
    with pytest.raises(ValueError, match="endless"):
        plain_source(num_tasks=None)
    uneven = plain_source(more=1)
    with pytest.raises(ValueError, match="5 rollouts of a prompt planned, prime-rl makes 4"):
        [uneven.next_task(step=1) for _ in range(6)]
    with pytest.raises(ValueError, match="'cures' weighs its groups in the loss"):
        plain_source(method="cures", with_replacement=True)
    dapo = plain_source(method="dapo", admission=None)
    with pytest.raises(ValueError, match="'dapo' decides later than prime-rl asks"):
        dapo.next_task(step=1)


# prime-rl itself -----------------------------------------------------------------------------------------------------


def episode(vf, task, reward, failed=False, name=None):
    """A real episode of one turn: a prompt token and two sampled ones."""
    node = vf.MessageNode(
        message=vf.AssistantMessage(content="x"), token_ids=[1, 2, 3], mask=[False, True, True], sampled=True
    )
    node.logprobs = [0.0, -0.1, -0.1]
    kind = vf.TraceTask(type="Task", data=task.data, key=task.key, hash=task.hash)
    errors = [vf.Error(type="SandboxError", message="sandbox lost")] if failed else []
    agent, rewards = vf.AgentInfo(config=vf.AgentConfig()), {"reward": vf.Reward(score=reward)}
    call = vf.ModelCall(node=0, usage=vf.Usage(prompt_tokens=1, completion_tokens=2))
    trace = vf.Trace(task=kind, agent=agent, nodes=[node], calls=[call], rewards=rewards, errors=errors, ok=not failed)
    info = vf.EnvInfo(id="test", name=name)
    return vf.Episode(env=info, task=kind, traces=[trace], errors=errors, ok=not failed)


def test_episodes_of_the_installed_verifiers_are_understood():
    vf = pytest.importorskip("verifiers.v1", reason="pip install verifiers")
    tasks = [vf.Task(vf.TaskData(idx=number, prompt=f"{number}")) for number in range(12)]
    env = SimpleNamespace(name="math", num_tasks=12, sampling_args={}, config=SimpleNamespace(group_size=SIZE))
    curricula = {"math": SimpleNamespace(sampler=SimpleNamespace(tasks=tasks))}
    source = recipe.CurriculumSource(SimpleNamespace(envs=[env], curricula=curricula), built, SimpleNamespace)
    task = source.next_task(step=1).task
    rewards, failed = [1.0, 0.0, 1.0, 0.0], [False, False, False, True]
    group = [episode(vf, task, *each, name="math") for each in zip(rewards, failed, strict=True)]
    assert source.on_result(group)
    metrics = source.metrics()
    assert metrics["curriculum/rollouts"] == SIZE
    assert metrics["curriculum/rollouts_errored"] == 1
    believed = source.desk.pass_rates()
    assert believed.mean[list(believed.ids).index(f"math/{task.key}")] == pytest.approx((1 + 2) / (2 + 3))
    assert metrics["curriculum/response_tokens"] == 2 * SIZE


@pytest.fixture
def prime_rl():
    """The parts of prime-rl's orchestrator that run without a GPU."""
    pytest.importorskip("verifiers.v1", reason="pip install verifiers")
    pytest.importorskip("prime_rl.orchestrator.train_sink", reason="prime-rl's source is not on PYTHONPATH")
    import verifiers.v1 as vf
    from prime_rl.configs.algorithm import GRPOAlgoConfig
    from prime_rl.orchestrator import ckpt, dispatcher, train_sink, train_source, types
    from prime_rl.orchestrator.algo import build_algorithm

    return SimpleNamespace(
        vf=vf,
        grpo=lambda: build_algorithm(GRPOAlgoConfig(), None),
        CheckpointManager=ckpt.CheckpointManager,
        Dispatcher=dispatcher.Dispatcher,
        TrainSink=train_sink.TrainSink,
        TrainSource=train_source.TrainSource,
        types=types,
    )


def test_the_orchestrator_takes_its_source_where_the_recipe_gives_it(prime_rl):
    """`setup` makes one TrainSource, before it loads a checkpoint, and hands it to all who use it."""
    folder = Path(importlib.util.find_spec("prime_rl.orchestrator").origin).parent
    setup = (folder / "orchestrator.py").read_text(encoding="utf-8")
    assert len(re.findall(r"\.train_source = ", setup)) == 1
    made, loaded = setup.index("self.train_source = TrainSource("), setup.index("self.ckpt_manager.load(")
    assert made < loaded < setup.index("train_source=self.train_source,") < setup.index("self.train_source.on_result")
    used = re.findall(r"train_source\.(\w+)", setup + (folder / "dispatcher.py").read_text(encoding="utf-8"))
    used += re.findall(r"train_source\.(\w+)", (folder / "ckpt.py").read_text(encoding="utf-8"))
    assert set(used) == {"next_task", "on_result", "metrics", "state_dict", "load_state_dict", "curricula"}


class Environments:
    """Two training sources with the attributes that prime-rl's Env has, and rollouts made up on the spot."""

    def __init__(self, prime_rl, draw):
        self.vf, self.draw, self.made = prime_rl.vf, draw, 0
        self.envs = {name: self.env(name, prime_rl.grpo()) for name in ("math", "code")}

    def env(self, name, algorithm):
        tasks = [self.vf.Task(self.vf.TaskData(idx=number, prompt=f"{name} {number}")) for number in range(12)]

        async def run(client, model_name, cache_salt, task_data):
            await asyncio.sleep(self.draw.random() / 200)
            self.made += 1
            task = tasks[task_data["idx"]]
            reward = float(self.draw.random() < rate(task.data.idx))
            return episode(self.vf, task, reward, failed=self.draw.random() < 0.05)

        return SimpleNamespace(
            name=name,
            tasks=iter(tasks),
            num_tasks=len(tasks),
            config=SimpleNamespace(group_size=SIZE, ratio=1.0, curriculum=None),
            generation_source=SimpleNamespace(uses_live_policy=True, pool=SimpleNamespace(train_client=object())),
            algorithm=algorithm,
            sampling_args={"temperature": 1.0},
            run=run,
        )

    def get(self, name):
        return self.envs[name]

    def __iter__(self):
        return iter(self.envs.values())


async def orchestrate(prime_rl, envs, source, num_batches):
    """What `Orchestrator.main_loop` does between its Dispatcher and its TrainSink."""
    policy, progress = prime_rl.types.Policy(), prime_rl.types.Progress()
    dispatcher = prime_rl.Dispatcher(
        train_envs=envs,
        eval_envs=None,
        train_source=source,
        eval_source=None,
        policy_pool=None,
        policy=policy,
        progress=progress,
        initial_max_inflight=64,
        max_inflight_ceiling=64,
        tasks_per_minute=None,
        max_off_policy_steps=4,
        run_id="test",
        run_name=None,
    )
    dispatcher.admission_window_s = 0.01
    sink = prime_rl.TrainSink(
        SimpleNamespace(max_off_policy_steps=4, seq_len=8, train=SimpleNamespace(filter_zero_advantages=True)),
        tokenizer=None,
        train_envs=envs,
        mm_token_type_ids_mapping=None,
        progress=progress,
        batch_size=24,
        token_batch_size=None,
        on_result=source.on_result,
    )
    dispatching = asyncio.create_task(dispatcher.start())
    batches = []
    while len(batches) < num_batches:
        item = await asyncio.wait_for(dispatcher.out_q.get(), timeout=20)
        cancelled = isinstance(item, prime_rl.types.GroupCancellation)
        batch = await (sink.cancel(item) if cancelled else sink.add(item))
        if batch is not None:
            batches.append(batch)
            progress.step += 1
            policy.version += 1
            await dispatcher.on_version_pending(policy.version)
    await dispatcher.stop()
    await dispatching
    return batches, progress


@pytest.mark.parametrize("method", ["mopps", "uniform"])
def test_prime_rls_dispatcher_and_sink_train_on_the_plans_and_its_checkpoint_holds_the_state(
    prime_rl, tmp_path, method
):
    envs = Environments(prime_rl, random.Random(1))
    build = partial(built, method=method)
    source = recipe.CurriculumSource(prime_rl.TrainSource(envs), build, prime_rl.types.TaskRequest)
    batches, progress = asyncio.run(orchestrate(prime_rl, envs, source, 8))
    metrics = source.metrics()
    for batch in batches:
        assert len(batch.samples) > 12
        assert all(any(sample.advantages) for sample in batch.samples)  # only groups with signal came through
    told = metrics["curriculum/rollouts"]
    assert told <= envs.made
    assert metrics["curriculum/rollouts_planned"] == told + metrics["curriculum/rollouts_in_flight"]
    assert metrics["curriculum/rollouts_errored"] > 0
    assert metrics["curriculum/groups_trained"] * SIZE >= 8 * 24
    assert metrics["curriculum/groups_trained"] < metrics["curriculum/groups"]
    manager = prime_rl.CheckpointManager(tmp_path, SimpleNamespace(skip_progress=False))
    manager.save(progress, source, step=8)
    again = Environments(prime_rl, random.Random(2))
    resumed = recipe.CurriculumSource(prime_rl.TrainSource(again), build, prime_rl.types.TaskRequest)
    manager.load(prime_rl.types.Progress(), resumed, step=8)
    assert (resumed.desk.pass_rates().mean == source.desk.pass_rates().mean).all()
    asyncio.run(orchestrate(prime_rl, again, resumed, 2))
    assert resumed.metrics()["curriculum/rollouts"] > told
