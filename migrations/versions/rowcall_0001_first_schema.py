"""The first schema: log, watches, validation, subscriptions, gate."""

from rowcall.migrate.files import run_files

revision = "rowcall_0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "roles_v1",
    "installation_v1",
    "relation_v1",
    "layout_v1",
    "event_v1",
    "cluster_v1",
    "watch_v1",
    "subscription_v1",
    "backfill_v1",
    "gate_v1",
    "rejection_v1",
    "seal_v1",
)

FUNCTIONS = (
    "act_v1",
    "lane_v1",
    "in_lanes_v1",
    "at_home_v1",
    "of_backfill_v1",
    "in_stage_v1",
    "claim_v1",
    "release_v1",
    "merge_v1",
    "base_type_v1",
    "encoding_v1",
    "loss_v1",
    "misfit_v1",
    "redacted_v1",
    "value_expression_v1",
    "columns_v1",
    "exact_expression_v1",
    "image_expression_v1",
    "stored_expression_v1",
    "key_expression_v1",
    "old_value_v1",
    "old_image_v1",
    "row_expression_v1",
    "settings_clause_v1",
    "difference_v1",
    "fallback_context_v1",
    "fallback_image_v1",
    "fallback_key_v1",
    "bell_v1",
    "log_event_v1",
    "announce_v1",
    "capture_truncate_v1",
    "truncate_v1",
    "moves_v1",
    "give_function_v1",
    "record_layout_v1",
    "relation_id_v1",
    "capture_mode_v1",
    "capture_definition_v1",
    "capture_bulk_definition_v1",
    "capture_when_v1",
    "capture_triggers_v1",
    "capture_tables_v1",
    "stale_triggers_v1",
    "trigger_is_current_v1",
    "capture_is_current_v1",
    "capture_is_enabled_v1",
    "enable_capture_v1",
    "install_function_v1",
    "install_capture_v1",
    "rule_condition_v1",
    "rule_functions_v1",
    "rule_column_v1",
    "guard_definition_v1",
    "install_guard_v1",
    "check_watchable_v1",
    "watch_v1",
    "unwatch_v1",
    "signature_v1",
    "install_ask_v1",
    "record_rejection_v1",
    "gate_record_v1",
    "gate_refuse_v1",
    "gate_v1",
    "request_v1",
    "amend_v1",
    "guard_triggers_v1",
    "guard_is_current_v1",
    "declare_guards_v1",
    "check_gate_v1",
    "drop_guard_triggers_v1",
    "make_guard_v1",
    "guard_v1",
    "configure_gate_v1",
    "partitions_v1",
    "extend_partitions_v1",
    "follow_ddl_v1",
    "backfill_v1",
    "reanchor_v1",
    "lock_down_v1",
)


def upgrade() -> None:
    run_files(*(f"tables/{name}.sql" for name in TABLES), *(f"functions/{name}.sql" for name in FUNCTIONS))


def downgrade() -> None:
    run_files("functions/remove_everything_v1.sql")
