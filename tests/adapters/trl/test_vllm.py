"""vLLM as the rollout engine of the TRL adapter, server and colocate mode, on vLLM's CPU build with nothing patched.

TRL sends new weights to a server by NCCL, which needs a GPU, and loads them into a colocated engine in a way that the
CPU build's packed weights do not take. So these two ways, and nothing else of TRL or vLLM, are replaced here: the
weights go through vLLM's own `reload_weights`. Generation, log-probabilities, rewards and training are the real ones.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import torch
from datasets import Dataset

from didact import make
from didact.context import StagedContext
from didact.journal import Journal, RecordedCurriculum, outcomes_of, read_journal

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed", allow_module_level=True)

pytestmark = pytest.mark.slow
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other processes use these cores too
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "TORCH_COMPILE_DISABLE": "1",  # TRL's colocate mode has no switch for it, and compiling takes longer than the tests
}
LIMIT = 12


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A random model whose next token depends much on the prompt: completions of another prompt would be noticed."""
    from didact.tasks.arithmetic import vocabulary
    from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer

    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(vocabulary())
    model = build_model(SmallModelConfig(hidden_size=128, num_key_value_heads=4), tokenizer, seed=0)
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=dice)
    # In half precision, since TRL's colocate mode names no dtype and vLLM would take bfloat16 for float32.
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(path, tmp_path_factory):
    """vLLM's OpenAI server, as TRL's documentation starts it, without the NCCL engine for weights."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # `vllm serve` of the CPU package fails on its own version number; this is the same server.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(path), "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "64", "--max-num-seqs", "64"]
    command += ["--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1", "--enforce-eager"]
    log = tmp_path_factory.mktemp("server") / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT, "VLLM_SERVER_DEV_MODE": "1"}, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url, process, log)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _wait_for(url, process, log, seconds=600):
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            if urlopen(f"{url}/health", timeout=5).status == 200:
                return
        except (URLError, OSError):
            time.sleep(1)
    raise RuntimeError(f"the server did not come up:\n{log.read_text()[-3000:]}")


@pytest.fixture
def mode(request, monkeypatch, tmp_path):
    """Settings for one of TRL's two modes, with the other way of handing over weights; `calls` lists what was asked."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    import trl.generation.vllm_generation as generation
    import trl.trainer.grpo_trainer as grpo
    from safetensors.torch import save_file

    calls = []

    class Client(generation.VLLMClient):
        def init_communicator(self, device=0):
            """NCCL; not on this machine."""

        def update_named_params(self, metadata, named_params):
            # The same tensors in the same order, by a file and an endpoint of vLLM's development mode.
            folder = tmp_path / "weights"
            folder.mkdir(exist_ok=True)
            tensors = {name: weight.detach().clone().contiguous() for name, weight in named_params}
            assert [name for name, *_ in metadata] == list(tensors)
            save_file(tensors, folder / "model.safetensors")
            what = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
            self._post(f"{self.base_url}/collective_rpc", json=what)

        def generate(self, prompts, n=1, **options):
            output = super().generate(prompts, n=n, **options)
            calls.append((prompts, n, options["max_tokens"], output["completion_ids"]))
            return output

    class Generation(generation.VLLMGeneration):
        def sync_weights(self):
            if self.mode == "server":
                return super().sync_weights()
            weights = [(name, weight.detach().clone()) for name, weight in self._iter_named_params()]
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
            self.llm.reset_prefix_cache()

        def generate(self, prompts, *args, **options):
            output = super().generate(prompts, *args, **options)
            if self.mode == "colocate":
                calls.append((prompts, 1, self.max_completion_length, output[1]))
            return output

    monkeypatch.setattr(generation, "VLLMClient", Client)
    monkeypatch.setattr(grpo, "VLLMGeneration", Generation)
    settings = {"vllm_mode": request.param, "calls": calls}
    if request.param == "server":
        return {**settings, "vllm_server_base_url": request.getfixturevalue("server")}
    return {**settings, "vllm_gpu_memory_utilization": 0.2, "vllm_max_model_length": 64}


def build(path, output, mode, method, options, steps=3):
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import GRPOConfig

    from didact.adapters.trl import CurriculumGRPOTrainer
    from didact.tasks import task

    told = []

    def even(prompts, completions, completion_ids, prompt_id, **_):
        rewards = [float(len(set(ids)) % 2 == 0) for ids in completion_ids]
        told.extend(zip(prompt_id, prompts, map(tuple, completion_ids), rewards, strict=True))
        return rewards

    rows = [
        {"prompt": each.prompt, "prompt_id": each.prompt_id} for each in task("arithmetic").examples("train", num=48)
    ]
    journal = output / "journal.jsonl"

    def curriculum(pool):
        usual = {"prompts_per_step": 4, "rollouts_per_step": 32, "seed": 0, "truncated": "observe"}
        return RecordedCurriculum(make(method, pool, **{**usual, **options}), Journal(journal))

    trainer = CurriculumGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        args=GRPOConfig(
            output_dir=str(output),
            max_steps=steps,
            per_device_train_batch_size=32,
            num_generations=8,
            max_completion_length=LIMIT,
            learning_rate=3e-3,
            loss_type="grpo",
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            disable_tqdm=True,
            use_vllm=True,
            **{name: value for name, value in mode.items() if name != "calls"},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(path),
        reward_funcs=even,
        curriculum=curriculum,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, told, journal


def records(journal, kind):
    return [record for record in read_journal(journal) if record["kind"] == kind]


def log_probability_differences(trainer):
    """Mean over the tokens of a step, of the engine's against the trainer's."""
    key = "sampling/sampling_logp_difference/mean"
    return [entry[key] for entry in trainer.state.log_history if key in entry]


def words(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True).split()


STAGES = StagedContext([(1, 4), (1, 8), (1, LIMIT)])
CURES = {"prompts_per_step": 5, "temperature": 0.05, "steps_per_iteration": 2}


@pytest.mark.parametrize("mode", ["server"], indirect=True)
def test_a_completion_under_another_prompt_would_be_noticed(path, tmp_path, mode, monkeypatch):
    """The control of the test above: turn the answers by one row, and the log-probabilities disagree."""
    trainer, _, _ = build(path, tmp_path, mode, "cures", CURES, steps=1)
    client = trainer.vllm_generation.vllm_client
    generate = client.generate

    def turned(*args, **options):
        output = generate(*args, **options)
        for name in ("completion_ids", "logprobs", "logprob_token_ids"):
            output[name] = output[name][8:] + output[name][:8]
        return output

    monkeypatch.setattr(client, "generate", turned)
    trainer.train()
    assert log_probability_differences(trainer)[0] > 0.5


@pytest.mark.parametrize("mode", ["server"], indirect=True)
def test_stock_trl_cannot_have_uneven_groups_in_server_mode(path, tmp_path, mode):
    """Why the adapter asks for single completions: TRL takes every eighth prompt, eight times."""
    trainer, _, _ = build(path, tmp_path, mode, "uniform", {}, steps=1)
    prompts = [[5, 6, row] for row in range(3) for _ in range((2, 6, 8)[row])]
    stock, *_ = trainer.vllm_generation.generate(prompts, None, num_generations=8)
    ours, *_ = trainer.vllm_generation.generate(prompts, None, num_generations=1)
    assert [ids[2] for ids in stock] == [0] * 8 + [2] * 8
    assert ours == prompts


@pytest.mark.parametrize("mode", ["server"], indirect=True)
def test_a_context_beyond_the_engines_length_is_refused(path, tmp_path, mode):
    with pytest.raises(ValueError, match="context of 100 tokens exceeds vllm_max_model_length=64"):
        build(path, tmp_path, {**mode, "vllm_max_model_length": 64}, "uniform", {"context": 100})


@pytest.mark.parametrize(
    ("mode", "method", "options"),
    [
        ("server", "cures", CURES),
        ("server", "speed", {"num_screen": 3}),
        ("server", "uniform", {"context": STAGES}),
        ("colocate", "cures", {**CURES, "context": STAGES}),  # last: its engine stays in this process
    ],
    indirect=["mode"],
)
def test_each_prompt_gets_exactly_its_own_completions(path, tmp_path, mode, method, options):
    trainer, told, journal = build(path, tmp_path, mode, method, options)
    tokenizer, calls = trainer.processing_class, mode["calls"]
    first = torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])
    trainer.train()

    # What the engine was asked: row by row the plan's prompts, each as often as planned, one completion each.
    plans = records(journal, "plan")
    text = {prompt_id: prompt for prompt_id, prompt, *_ in told}
    planned = [
        (text[prompt].split(), limit or LIMIT)
        for plan in plans
        for prompt, num, limit in zip(plan["prompts"], plan["rollouts"], plan["context_length"], strict=True)
        for _ in range(num)
    ]
    asked = [(words(tokenizer, prompt), limit) for prompts, _, limit, _ in calls for prompt in prompts]
    assert asked == planned
    assert {n for _, n, _, _ in calls} == {1}

    # What it answered reached the reward function in that order, and the curriculum under that prompt's group.
    answers = [tuple(ids) for *_, completions in calls for ids in completions]
    assert [ids for _, _, ids, _ in told] == answers
    assert all(len(ids) <= limit for ids, (_, limit) in zip(answers, planned, strict=True))
    heard = Counter(
        (outcome.prompt_id, reward, length)
        for record in records(journal, "outcomes")
        for outcome in outcomes_of(record)
        for reward, length in zip(outcome.rewards, outcome.num_tokens, strict=True)
    )
    assert heard == Counter((prompt_id, reward, len(ids)) for prompt_id, _, ids, reward in told)

    # The case is what it says: uneven groups in several rounds, and a limit that changes.
    if method != "uniform":
        assert any(len(set(plan["rollouts"])) > 1 for plan in plans)
        assert max(plan["round"] for plan in plans) > 0
    if "context" in options:
        assert sorted({limit for plan in plans for limit in plan["context_length"]}) == [4, 8, LIMIT]

    # The engine's log-probabilities are the trainer's: right weights, right prompts, at every step.
    differences = log_probability_differences(trainer)
    assert len(differences) == len({plan["step"] for plan in plans})  # a step may train on held groups alone
    assert max(differences) < (1e-4 if mode["vllm_mode"] == "server" else 0.02)  # float32, half precision
    last = torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])
    assert (last - first).abs().max() > 1e-3  # otherwise old weights would pass for new ones
