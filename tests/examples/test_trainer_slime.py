"""The slime recipe: its logic on plain samples, and its hooks on slime's own classes where slime can be imported.

slime is not on the package index. With its source on PYTHONPATH and `httpx`, `aiohttp`, `ray`, `transformers` and
`pylatexenc` installed, the second half runs slime's rollout code against a small HTTP server that stands for SGLang;
its trainer (Megatron) was only read.
"""

import asyncio
import enum
import importlib.util
import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("slime_recipe", ROOT / "examples" / "trainers" / "slime_recipe.py")
recipe = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recipe)


class Status(enum.Enum):
    PENDING = "pending"
    COMPLETED = "completed"
    TRUNCATED = "truncated"
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass
class PlainSample:
    """The fields of slime.utils.types.Sample that the recipe touches."""

    prompt: str = ""
    group_index: int | None = None
    index: int | None = None
    rollout_id: int | None = None
    response_length: int = 0
    reward: float | None = None
    remove_sample: bool = False
    status: Status = Status.PENDING
    metadata: dict = field(default_factory=dict)

    def get_reward_value(self, args):
        return self.reward


def settings(**changes):
    plain = {
        "rollout_batch_size": 4,
        "rollouts_per_step": 24,
        "rollout_seed": 0,
        "curriculum": "uniform",
        "curriculum_options": {},
        "reward_key": None,
    }
    return SimpleNamespace(**plain | changes)


def source_of(args, num_prompts=40):
    source = object.__new__(recipe.CurriculumSource)
    source._begin(args, [PlainSample(prompt=f"prompt {row}") for row in range(num_prompts)])
    return source


def verdicts(seed, rate=0.5, **odd):
    """A sampler: prompt `row` passes with a probability of its own; `odd` gives the status of every n-th sample."""
    chance, seen = random.Random(seed), []

    async def generate(group, context_length):
        await asyncio.sleep(0)
        for sample in group:
            seen.append((sample, context_length))
            sample.response_length = chance.randint(1, 9)
            sample.status = Status.COMPLETED
            sample.reward = float(chance.random() < rate)
            for status, every in odd.items():
                if len(seen) % every == 0:
                    sample.status = Status[status]
                    sample.reward = None if status in ("FAILED", "ABORTED") else sample.reward
        return group

    generate.seen = seen
    return generate


@pytest.mark.parametrize("method", ["uniform", "cures", "dapo", "speed", "reinforce_ada", "knapsack"])
def test_every_batch_is_full_and_holds_the_admitted_rollouts(method):
    args = settings(curriculum=method)
    source, generate = source_of(args), verdicts(1)
    for step in range(6):
        batch = asyncio.run(recipe.roll_out_step(source, generate))
        assert len(batch) == args.rollout_batch_size
        trained = [group for group in batch if not group[0].remove_sample]
        admitted = source.curriculum.admitted(step)
        assert [group[0].group_index for group in trained] == [group.group_id for group in admitted]
        for group, told in zip(trained, admitted, strict=True):
            assert {sample.prompt for sample in group} == {f"prompt {told.prompt_id}"}
            assert {sample.rollout_id for sample in group} == {told.group_id}  # slime averages the loss over these
            assert len(group) == len(told.rollouts)
            assert [sample.metadata["baseline"] for sample in group] == [told.baseline] * len(group)
            assert [sample.metadata["weight"] for sample in group] == [1.0] * len(group)
        assert len({sample.rollout_id for group in batch for sample in group}) == args.rollout_batch_size
    indices = [sample.index for sample, _ in generate.seen]
    assert sorted(indices) == list(range(len(indices)))  # unique over rounds and steps
    assert source.curriculum.metrics()["rollouts"] == len(indices)


def test_a_step_without_signal_is_filled_with_masked_samples():
    source = source_of(settings(curriculum="dapo", rollouts_per_step=16))
    batch = asyncio.run(recipe.roll_out_step(source, verdicts(1, rate=0.0)))
    assert len(batch) == 4
    assert all(sample.remove_sample for group in batch for sample in group)


def test_failed_and_aborted_samples_are_errors_and_truncated_ones_are_counted():
    source = source_of(settings(rollouts_per_step=32))
    generate = verdicts(3, TRUNCATED=3, FAILED=5, ABORTED=7)
    batch = asyncio.run(recipe.roll_out_step(source, generate))
    samples = [sample for sample, _ in generate.seen]
    metrics = source.curriculum.metrics()
    assert (
        metrics["rollouts_errored"] == sum(sample.status in (Status.FAILED, Status.ABORTED) for sample in samples) > 0
    )
    assert metrics["rollouts_truncated"] == sum(sample.status is Status.TRUNCATED for sample in samples) > 0
    assert not any(recipe.bad(sample) for group in batch for sample in group)


def test_a_step_in_which_everything_failed_says_so():
    source = source_of(settings())
    with pytest.raises(RuntimeError, match="every rollout failed"):
        asyncio.run(recipe.roll_out_step(source, verdicts(1, FAILED=1)))


def test_the_context_length_of_the_plan_reaches_the_sampler():
    source, generate = source_of(settings(curriculum_options={"context": 17})), verdicts(1)
    asyncio.run(recipe.roll_out_step(source, generate))
    assert {length for _, length in generate.seen} == {17}


def test_advantages_are_those_of_each_group_and_use_a_given_baseline():
    rewards, groups = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0], [3, 3, 3, 5, 5, 8]
    samples = [PlainSample(group_index=group, reward=reward) for group, reward in zip(groups, rewards, strict=True)]
    samples[-1].metadata["baseline"] = 0.25
    raw, found = recipe.advantages(settings(), samples)
    assert raw == rewards
    assert found == pytest.approx([1.0, -0.5, -0.5, 1.0, -1.0, 0.75])
    for sample, weight in zip(samples, [1.5] * 3 + [0.75] * 3, strict=True):
        sample.metadata["weight"] = weight
    assert recipe.advantages(settings(), samples)[1] == pytest.approx([1.5, -0.75, -0.75, 0.75, -0.75, 0.5625])


def test_a_prompt_drawn_twice_weighs_twice_where_slime_counts_groups_alike():
    source = source_of(settings(curriculum="cures", curriculum_options={"with_replacement": True}), num_prompts=6)
    seen = set()
    for step in range(6):
        batch = asyncio.run(recipe.roll_out_step(source, verdicts(step)))
        weights = [group[0].metadata["weight"] for group in batch if not group[0].remove_sample]
        told = np.array([group.weight for group in source.curriculum.admitted(step)])
        assert weights == pytest.approx(told / told.mean())
        seen.update(told)
    assert seen >= {1.0, 2.0}


# With slime itself ------------------------------------------------------------------------------------------------


@pytest.fixture
def slime():
    """slime's modules; its generation state is one per process and must not leak from test to test."""
    sglang_rollout = pytest.importorskip("slime.rollout.sglang_rollout")
    from slime.utils import http_utils
    from slime.utils.misc import SingletonMeta

    SingletonMeta._instances.clear()
    yield sglang_rollout
    SingletonMeta._instances.clear()
    http_utils._http_client = None


class Handler(BaseHTTPRequestHandler):
    """What slime asks SGLang's router for: completions, with log-probabilities and the reason why they ended."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        limit, row = asked["sampling_params"]["max_new_tokens"], asked["input_ids"][-1]
        with server.lock:
            server.limits.append(limit)
            server.asked[row] += 1
            length = 1 + (row + server.asked[row] * (1 + row % 3)) % 6  # the same whatever the order of requests
        cut = length > limit
        said = {
            "text": "1" if length % 2 else "0",
            "meta_info": {
                "output_token_logprobs": [[-0.5, 1 + token, None] for token in range(min(length, limit))],
                "finish_reason": {"type": "length" if cut else "stop"},
            },
        }
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.lock, server.limits = Counter(), threading.Lock(), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def reward(args, sample, **_):
    return float(sample.response == "1")


@pytest.fixture
def slime_args(tmp_path, server, monkeypatch):
    """The attributes of slime's arguments that its rollout code reads, and a tokenizer and prompts on disk."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate(["[UNK]", "say", "one", *map(str, range(60))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[UNK]").save_pretrained(tmp_path)
    rows = [json.dumps({"text": f"say one {row}", "label": "1", "metadata": {}}) for row in range(30)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows))
    return settings(
        hf_checkpoint=str(tmp_path),
        prompt_data=str(tmp_path / "prompts.jsonl"),
        rollout_global_dataset=True,
        dump_details=None,
        rollout_max_prompt_len=None,
        input_key="text",
        label_key="label",
        metadata_key="metadata",
        tool_key=None,
        multimodal_keys=None,
        apply_chat_template=False,
        apply_chat_template_kwargs=None,
        rollout_shuffle=True,
        n_samples_per_prompt=1,
        sglang_server_concurrency=8,
        sglang_dp_size=None,
        rollout_num_gpus=1,
        rollout_num_gpus_per_engine=1,
        sglang_router_ip="127.0.0.1",
        sglang_router_port=server.server_address[1],
        rollout_temperature=1.0,
        rollout_top_p=1.0,
        rollout_top_k=-1,
        rollout_max_response_len=5,
        rollout_stop=None,
        rollout_stop_token_ids=None,
        rollout_skip_special_tokens=False,
        partial_rollout=False,
        mask_offpolicy_in_partial_rollout=False,
        group_rm=False,
        custom_generate_function_path=None,
        custom_rm_path=f"{__name__}.reward",
        ci_test=False,
        use_rollout_routing_replay=False,
        use_distributed_post=False,
        sglang_speculative_algorithm=None,
        save=str(tmp_path / "saved"),
        load=str(tmp_path / "saved"),
    )


@pytest.mark.parametrize("method", ["cures", "speed"])
def test_slimes_own_rollout_code_runs_a_plan_and_a_resumed_run_repeats_it(slime, slime_args, server, method):
    from slime.observability.rollout_data_utils import validate_rollout_id_annotated
    from slime.rollout.base_types import call_rollout_fn
    from slime.utils.dp_schedule import build_dp_schedule
    from slime.utils.http_utils import init_http_client

    slime_args.curriculum, slime_args.curriculum_options = method, {"context": 4, "truncated": "observe"}
    init_http_client(slime_args)
    source = recipe.CurriculumSource(slime_args)
    source.load(-1)
    assert len(source) == 30
    sizes = set()
    for rollout_id in range(4):
        output = call_rollout_fn(recipe.generate_rollout, slime_args, rollout_id, source, evaluation=False)
        validate_rollout_id_annotated(output.samples)
        flat = [sample for group in output.samples for sample in group]
        assert all(sample.tokens and sample.response_length <= 4 for sample in flat)
        raw, found = recipe.advantages(slime_args, flat)
        assert len(raw) == len(found) == len(flat)
        sizes |= {len(group) for group in output.samples}
        schedule = SimpleNamespace(use_dynamic_batch_size=True, max_tokens_per_gpu=64, balance_data=False)
        schedule.balance_by_flops = False
        parallel = {"dp_size": 2, "cp_size": 1, "vpp_size": 1, "microbatch_group_size_per_vp_stage": 1}
        parts, _, _, counts = build_dp_schedule(
            schedule,
            parallel,
            [len(sample.tokens) for sample in flat],
            global_batch_size=slime_args.rollout_batch_size,
            rollout_indices=[sample.rollout_id for sample in flat],
        )
        assert counts == [4]  # one optimiser step of four prompts, whatever their groups' sizes
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(flat)))
    assert set(server.limits) == {4}
    assert len(sizes) > 1 if method == "cures" else source.held
    assert output.metrics["curriculum/rollouts"] == len(server.limits)
    assert output.metrics["curriculum/rollouts_truncated"] > 0

    source.save(3)
    again = recipe.CurriculumSource(slime_args)
    again.load(3)
    assert again.held == source.held
    assert list(again.curriculum.plan(4)) == list(source.curriculum.plan(4))
    with pytest.raises(FileNotFoundError):
        again.load(7)


def test_the_paths_load_the_way_slime_loads_them(slime, monkeypatch):
    from slime.utils.misc import load_function

    monkeypatch.syspath_prepend(str(ROOT / "examples" / "trainers"))
    for name in ("CurriculumSource", "generate_rollout", "advantages"):
        assert callable(load_function(f"slime_recipe.{name}"))
