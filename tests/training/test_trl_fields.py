"""Every field of the installed TRL's GRPOConfig is passed on as somebody looked at it, or refused with a reason."""

from dataclasses import fields

import pytest

from didact.training.config import TrainConfig
from didact.training.trl_fields import RESERVED

pytest.importorskip("trl")

#: What `[trl]` may set: TRL, transformers or torch obey it in a run of ours. Tried with one step each on a CPU, except
#: for what needs a GPU, vLLM or another package.
PASSED = """
lr_scheduler_kwargs optim optim_args optim_target_modules weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm
bf16 fp16 tf32 activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing
gradient_checkpointing_kwargs torch_compile torch_compile_backend torch_compile_mode use_liger_kernel
liger_kernel_config use_cache neftune_noise_alpha torch_empty_cache_steps logging_nan_inf_filter log_level report_to
run_name project trackio_space_id trackio_bucket_id trackio_static_space_id save_total_limit full_determinism
skip_memory_metrics debug router_aux_loss_coef disable_dropout cast_lm_head_to_fp32 pad_to_multiple_of
steps_per_generation temperature top_p top_k min_p generation_kwargs chat_template_kwargs repetition_penalty
cache_implementation use_vllm vllm_mode vllm_model_impl vllm_enable_sleep_mode vllm_structured_outputs_regex
vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout vllm_group_port
vllm_gpu_memory_utilization vllm_max_model_length vllm_tensor_parallel_size beta num_iterations epsilon delta
epsilon_high sapo_temperature_neg sapo_temperature_pos vespo_k_pos vespo_lambda_pos vespo_k_neg vespo_lambda_neg
importance_sampling_level scale_rewards mask_truncated_completions sync_ref_model ref_model_mixup_alpha
ref_model_sync_steps top_entropy_quantile entropy_coef use_adaptive_entropy entropy_coef_min entropy_coef_max
entropy_coef_delta entropy_target vllm_importance_sampling_correction vllm_importance_sampling_mode
vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min vllm_importance_sampling_cap
off_policy_mask_threshold use_bias_correction_kl log_completions log_multimodal num_completions_to_print
log_unique_prompts use_transformers_continuous_batching transformers_continuous_batching_config
use_transformers_paged
""".split()  # noqa: SIM905


def test_every_field_is_passed_on_or_reserved():
    from trl import GRPOConfig

    known = {field.name for field in fields(GRPOConfig)}
    assert known - set(PASSED) - set(RESERVED) == set()
    assert set(PASSED) & set(RESERVED) == set()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("num_generations", "the curriculum decides it"),
        ("generation_batch_size", "the setting 'rollouts_per_step'"),
        ("num_train_epochs", "the setting 'steps'"),
        ("shuffle_dataset", "the curriculum says what is rolled out"),
        ("data_seed", "the curriculum says what is rolled out"),
        ("eval_strategy", "see the settings eval_prompts"),
        ("load_best_model_at_end", "see the settings eval_prompts"),
        ("push_to_hub", "push RUN/model"),
        ("resume_from_checkpoint", "--resume"),
        ("remove_unused_columns", "the column with the answers"),
        ("reward_weights", "one reward function"),
        ("deepspeed", "CurriculumGRPOTrainer"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_with_the_reason(name, reason):
    with pytest.raises(ValueError, match=rf"\[trl\] cannot set '{name}': .*{reason}"):
        TrainConfig(trl={name: 2})
