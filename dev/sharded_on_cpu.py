"""FSDP2 and DeepSpeed ZeRO with the TRL adapter on two processes of a CPU, against one process that shards nothing.

    python dev/sharded_on_cpu.py fsdp2|zero2|zero3 [cures|speed|...]      # the cases of tests/adapters/trl/processes.py

accelerate 1.15 offers neither on a CPU, so this script tells it that gloo will do; nothing else is made up. DeepSpeed
(0.19.8 was tried) compiles a small extension at its first start. By hand only: it is no part of the checks.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ZERO = {
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "train_batch_size": "auto",
}


def allow_fsdp(watched: type) -> type:
    from accelerate import PartialState
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, TorchDynamoPlugin

    class Sharded(watched):  # type: ignore[misc, valid-type]
        def create_accelerator_and_postprocess(self) -> None:
            AcceleratorState(cpu=True, _from_accelerator=True, dynamo_plugin=TorchDynamoPlugin())
            for state in (PartialState, AcceleratorState):
                state._shared_state["distributed_type"] = DistributedType.FSDP
            AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin(
                fsdp_version=2,
                reshard_after_forward=True,
                auto_wrap_policy="transformer_based_wrap",
                cpu_ram_efficient_loading=False,
                state_dict_type="FULL_STATE_DICT",
            )
            super().create_accelerator_and_postprocess()

    return Sharded


def allow_deepspeed() -> None:
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    PartialState._prepare_backend = lambda self, *others, **more: ("gloo", DistributedType.NO)


def train(kind: str, case: str, model: str, folder: Path) -> None:
    import numpy as np

    from tests.adapters.trl import processes

    if kind == "one":
        trainer = processes.trainer_for(case, model, folder / kind, 1)
        np.savez(folder / "before.npz", **{name: each.numpy() for name, each in trainer.model.state_dict().items()})
        trainer.train()
        np.savez(folder / "after.npz", **{name: each.numpy() for name, each in trainer.model.state_dict().items()})
        return
    more: dict[str, object] = {}
    if kind == "fsdp2":
        more["cls"] = allow_fsdp(processes.Watched)
    else:
        allow_deepspeed()
        stage = {"stage": int(kind[-1]), "stage3_gather_16bit_weights_on_model_save": True}
        more |= {"use_cpu": False, "deepspeed": {**ZERO, "zero_optimization": stage}}
    trainer = processes.trainer_for(case, model, folder / kind, 2, **more)
    trainer.train()
    whole = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    parameter = next(iter(trainer.model.parameters()))
    held = getattr(parameter, "ds_tensor", getattr(parameter, "_local_tensor", parameter)).numel()
    if not trainer.is_world_process_zero():
        return
    before, one = np.load(folder / "before.npz"), np.load(folder / "after.npz")
    moved = max(np.abs(one[name] - before[name]).max() for name in one.files)
    apart = max(np.abs(one[name] - whole[name].float().numpy()).max() for name in one.files)
    journals = {(folder / run / "journal.jsonl").read_bytes() for run in ("one", kind)}
    sys.stdout.write(
        f"{kind} {case}: {trainer.accelerator.distributed_type}, {held} of {parameter.numel()} numbers of the first "
        f"parameter here; journal as with one process: {len(journals) == 1}; weights moved by {moved:.3g}, differ from "
        f"one process by {apart:.3g}\n"
    )


def start(kind: str, case: str) -> int:
    from didact.tasks.arithmetic import vocabulary
    from didact.training.small_model import SmallModelConfig, build_model, build_tokenizer

    threads = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    environment = {**os.environ, **threads}
    if kind.startswith("zero"):
        environment["ACCELERATE_USE_DEEPSPEED"] = "true"
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = build_tokenizer(vocabulary())
        shape = SmallModelConfig(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64)
        build_model(shape, tokenizer, seed=0).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        alone = {name: value for name, value in environment.items() if name != "ACCELERATE_USE_DEEPSPEED"}
        subprocess.run([sys.executable, __file__, "one", case, folder], env=alone, check=True)
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        return subprocess.run([*launch, __file__, kind, case, folder], env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) > 3:
        train(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[3]))
    else:
        sys.exit(start(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "cures"))
