"""The fields of TRL's GRPOConfig that `[trl]` cannot set, and why; every other field is passed on as it is.

A field is reserved where a setting of Didact's says the same, or where TRL would be told something that the curriculum,
the journal, the evaluation or the resumption overrides: what cannot be obeyed is refused and not ignored.
"""

from typing import Final

_REASONS: Final = {
    "it follows from the run folder": "output_dir",
    "it follows from the setting 'steps'": "max_steps num_train_epochs",
    "it follows from the setting 'save_every'": "save_strategy save_steps",
    "it follows from the setting 'micro_batch_size'": "per_device_train_batch_size gradient_accumulation_steps",
    "it follows from the setting 'rollouts_per_step'": "generation_batch_size",
    "the curriculum decides it: rollouts_per_step / prompts_per_step rollouts for each prompt, more or fewer where the "
    "method allocates": "num_generations",
    "it follows from the setting 'lr_schedule'": "lr_scheduler_type",
    **{
        f"it follows from the setting {name!r}": name
        for name in ("learning_rate", "warmup_steps", "loss_type", "max_completion_length", "seed")
    },
    "it follows from the setting 'device'": "use_cpu",
    "it follows from the journal, which keeps every step": "logging_strategy logging_steps logging_first_step",
    "it follows from the rule that no code from a model's folder runs": "trust_remote_code",
    "the progress shown is Didact's own": "disable_tqdm",
    "the curriculum says what is rolled out and in which order, and TRL's loader only counts": (
        "shuffle_dataset data_seed train_sampling_strategy length_column_name ignore_data_skip accelerator_config "
        "dataloader_drop_last dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers "
        "dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order"
    ),
    "the verifier needs the column with the answers": "remove_unused_columns",
    "there is one reward function, the verifier": "reward_weights multi_objective_aggregation",
    "there are no tools": "max_tool_calling_iterations",
    "the loss of GRPO has no labels": "label_names label_smoothing_factor",
    "the model is built before TRL sees it": "model_init_kwargs",
    "it would change the size of a step": "auto_find_batch_size",
    "metrics.jsonl counts tokens": "include_num_input_tokens_seen",
    "evaluation is Didact's own: see the settings eval_prompts, eval_fraction, eval_every and num_eval_prompts": (
        "do_train do_eval do_predict eval_strategy eval_steps eval_delay eval_on_start eval_accumulation_steps "
        "eval_do_concat_batches eval_use_gather_object per_device_eval_batch_size num_generations_eval "
        "prediction_loss_only batch_eval_metrics include_for_metrics fp16_full_eval bf16_full_eval "
        "load_best_model_at_end metric_for_best_model greater_is_better"
    ),
    "a run could not be resumed exactly; go on with one by --resume": (
        "save_only_model resume_from_checkpoint restore_callback_states_from_checkpoint"
    ),
    "Ctrl-C and SIGTERM are answered by Didact, with a checkpoint after the step": "enable_jit_checkpoint",
    "a run keeps its files in its own folder; push RUN/model when it is done": (
        "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision "
        "log_completions_hub_repo"
    ),
    "a run is one process; for several, use CurriculumGRPOTrainer in a script of your own (docs/trl.md)": (
        "average_tokens_across_devices ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers "
        "ddp_static_graph ddp_backend ddp_timeout fsdp fsdp_config fsdp_min_num_params "
        "fsdp_transformer_layer_cls_to_wrap deepspeed ds3_gather_for_generation parallelism_config local_rank "
        "save_on_each_node log_on_each_node log_level_replica"
    ),
}

#: Why `[trl]` cannot set a field, by the field's name.
RESERVED: Final = {name: reason for reason, names in _REASONS.items() for name in names.split()}
