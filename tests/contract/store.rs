//! One suite for every implementation of the store.

#[cfg(feature = "services")]
pub(crate) mod database;
#[cfg(feature = "services")]
mod postgres;

mod any_order;
mod backfill;
mod dead;
mod duplicates;
mod erase;
mod events;
mod fetch;
mod identity;
mod ledger;
mod merging;
mod quarantine;
mod reconcile;
mod records;
mod recover;
mod replay;
mod resolver;
mod sessions;
mod silence;
mod simulation;
mod support;
pub(crate) mod tables;
mod usage;
mod why;

/// Runs each case on a store of its own, on every engine named.
macro_rules! contract {
    (store as $policy:ident on [$($engine:ident),+]: $cases:tt) => {
        $(contract!(@engine $engine $policy $cases);)+
    };
    (@engine embedded $policy:ident $cases:tt) => {
        mod embedded {
            contract!(@cases embedded $policy $cases);
        }
    };
    (@engine postgres $policy:ident $cases:tt) => {
        #[cfg(feature = "services")]
        mod on_postgres {
            contract!(@cases postgres $policy $cases);
        }
    };
    (@cases $engine:ident $policy:ident [$($file:ident::$case:ident),+ $(,)?]) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let sandbox = crate::contract::store::support::Sandbox::$engine(adapters::store::ReferencePolicy::$policy).await;
                crate::contract::store::$file::$case(&*sandbox.store).await;
                sandbox.end().await;
            }
        )+
    };
}

mod reference_is_the_user {
    contract!(store as IsTheUser on [embedded, postgres]: [
        duplicates::a_duplicate_delivery_writes_nothing,
        duplicates::a_duplicate_is_known_after_midnight,
        duplicates::a_duplicate_is_known_after_its_day_of_the_ledger_was_dropped,
        duplicates::the_same_trace_id_with_another_body_keeps_both,
        duplicates::two_bodies_under_one_trace_id_in_one_batch_are_both_kept,
        duplicates::a_late_delivery_is_known_by_its_signed_bytes,
        duplicates::duplicates_within_one_batch_count_once,
        duplicates::a_trace_id_counts_within_its_environment,
        duplicates::copies_that_race_take_effect_once,
        duplicates::a_delivery_that_the_queue_gives_out_again_stays_processed,
        duplicates::what_cannot_be_read_is_set_aside_and_what_is_too_old_quarantined,
        records::the_greater_order_wins_whatever_arrives_last,
        records::the_ordering_header_outranks_the_signed_time,
        records::a_tombstone_hides_a_record_until_a_newer_delivery_revives_it,
        records::a_tombstone_before_its_record_buries_it_in_silence,
        records::a_tombstone_of_the_newer_alias_hides_the_older_version,
        records::identical_content_emits_no_event,
        records::two_versions_that_race_end_at_the_greater_order,
        records::columns_and_document_come_back_as_they_went_in,
        records::days_are_kept_by_the_day_on_the_persons_calendar,
        records::activities_page_newest_first_through_equal_and_missing_starts,
        records::a_span_includes_its_start_and_not_its_end,
        records::a_newer_version_outside_the_span_leaves_no_older_one_inside,
        records::a_cursor_of_somebody_else_is_refused,
        records::strange_content_is_kept_whole,
        merging::a_null_erases_no_score_and_a_late_one_still_counts,
        merging::a_score_stays_when_the_person_gets_a_new_id,
        merging::versions_that_cannot_be_ordered_are_asked_for_once,
        merging::a_lab_report_belongs_to_whom_its_uploader_named,
        merging::what_could_not_be_read_is_named_and_the_rest_applied,
        merging::columns_are_refilled_from_documents,
        merging::random_deliveries_in_random_order_end_as_the_model_says,
        identity::an_assigned_connection_lets_its_held_events_go,
        identity::a_held_event_gives_way_to_a_later_one_about_the_same_record,
        identity::a_reference_that_comes_late_lets_held_events_go,
        identity::a_connection_that_joined_another_answers_where_it_went,
        identity::split_parts_what_was_joined_for_good,
        identity::what_is_unknown_or_indivisible_is_said_so,
        identity::a_dispute_holds_events_until_a_person_decides,
        identity::connections_are_filtered_and_paged,
        identity::history_is_kept_in_the_order_of_processing,
        any_order::all_orders_end_alike_with_the_ordering_header,
        any_order::all_orders_end_alike_without_the_ordering_header,
        any_order::all_orders_end_alike_with_the_ordering_header_on_half,
        any_order::all_orders_end_alike_as_one_batch,
        any_order::all_orders_end_alike_as_one_batch_with_the_header_on_half,
        any_order::two_people_stay_apart_in_all_orders_with_the_header,
        any_order::two_people_stay_apart_in_all_orders_without_the_header,
        any_order::two_people_stay_apart_in_all_orders_with_the_header_on_half,
        any_order::two_people_stay_apart_in_all_orders_as_one_batch,
        any_order::each_delivery_alone_ends_like_all_together,
        events::positions_have_no_gaps_under_concurrency,
        events::only_the_holder_numbers_events,
        events::a_lease_passes_on_when_it_ends_or_is_let_go,
        events::of_many_that_want_a_lease_one_gets_it,
        events::what_is_published_is_not_offered_again,
        backfill::chunks_before_their_announcement_count,
        backfill::an_announcement_before_the_answer_counts,
        backfill::a_late_duplicate_chunk_changes_nothing,
        backfill::chunks_of_one_batch_count_one_by_one,
        backfill::a_stalled_one_asks_again_for_the_missing_days_alone,
        backfill::a_gap_that_never_comes_ends_incomplete_after_three_rounds,
        backfill::a_lost_answer_counts_once,
        backfill::ordinary_requests_are_whole_with_their_first_delivery,
        backfill::a_large_request_that_we_did_not_make_has_an_account_too,
        backfill::a_day_that_two_wish_for_completes_both,
        backfill::accounts_go_ninety_days_after_they_were_closed,
        fetch::a_clock_a_day_ahead_keeps_no_request_for_a_day,
        fetch::a_fetcher_taken_for_dead_is_fenced_off,
        fetch::the_pace_bounds_what_is_leased,
        fetch::fetchers_side_by_side_lease_different_jobs,
        fetch::each_answer_leaves_its_mark,
        fetch::refused_credentials_pause_their_environment_alone,
        fetch::an_alias_may_be_put_off_alone,
        fetch::an_open_job_is_not_enqueued_twice,
        fetch::a_new_user_is_backfilled_once,
        fetch::a_user_that_terra_has_long_known_is_not_backfilled,
        fetch::jobs_of_somebody_who_left_fail_instead_of_being_fetched,
        fetch::data_that_we_asked_for_is_told_as_backfill,
        fetch::what_somebody_waits_for_goes_before_history_and_users_take_turns,
        fetch::no_hour_holds_more_than_the_budget_of_a_user,
        fetch::fetchers_side_by_side_share_one_budget,
        fetch::a_provider_that_fails_for_two_people_rests_for_all_of_its_own,
        fetch::windows_that_overlap_or_adjoin_are_asked_for_once,
        sessions::a_session_is_found_by_its_state_and_returns_once,
        sessions::a_webhook_decides_the_session_it_names,
        sessions::without_a_name_the_youngest_session_of_the_reference_is_meant,
        sessions::an_expired_session_is_not_guessed,
        sessions::redirect_first_and_webhook_later_are_one_connect,
        sessions::webhook_first_and_redirect_later_are_one_connect,
        sessions::a_decided_session_stays_as_it_was_decided,
        sessions::a_failed_attempt_fails_its_session,
        sessions::sessions_go_a_day_after_their_end,
        ledger::a_failed_delivery_comes_again_at_its_time,
        ledger::a_worker_that_dies_is_counted_against_what_it_held,
        ledger::a_lease_that_is_renewed_is_no_death,
        ledger::what_is_given_back_was_not_tried,
        ledger::the_ledger_describes_what_was_downloaded,
        ledger::what_is_handed_over_leaves_what_was_settled_alone,
        ledger::a_clock_a_day_ahead_keeps_nothing_for_a_day,
        ledger::workers_side_by_side_lease_different_retries,
        ledger::a_dead_delivery_is_told_once_and_may_be_revived,
        ledger::a_failure_told_late_does_not_undo_what_was_processed,
        ledger::deliveries_are_listed_newest_first_and_filtered,
        ledger::upkeep_names_the_payloads_that_nothing_needs_any_more,
        ledger::payloads_go_with_the_retention_and_keys_after_ninety_days,
        ledger::migrating_again_applies_nothing_and_the_schema_fits,
        ledger::an_empty_batch_is_nothing_to_do,
        reconcile::any_order_with_reconciles_at_any_moment_ends_alike,
        reconcile::a_lost_auth_and_a_lost_deauth_are_made_good,
        reconcile::known_aliases_page_by_terra_user,
        reconcile::runs_wait_in_order_and_keep_what_they_found,
        quarantine::the_same_request_is_one_row_with_a_count,
        quarantine::a_full_quarantine_parts_with_strange_requests_first_then_with_old_ones,
        quarantine::quarantined_requests_page_and_are_filtered,
        quarantine::what_is_let_in_leaves_and_what_is_old_is_forgotten,
        recover::a_recovery_is_kept_step_by_step,
        recover::missed_events_are_kept_once_and_settled_one_by_one,
        recover::what_was_processed_under_its_trace_id_has_arrived,
        recover::requests_of_a_recovery_are_counted_by_their_end,
        recover::pauses_in_what_was_received_are_found_longest_first,
        dead::dead_letters_are_grouped_by_their_cause,
        dead::deliveries_are_chosen_by_what_they_are,
        dead::discarded_dead_letters_are_none_and_are_remembered,
        dead::the_audit_ends_with_its_time,
        dead::the_audit_pages_newest_first_and_is_filtered,
        replay::what_is_discarded_during_a_run_is_left_out,
    replay::what_is_likely_to_fail_or_failed_before_comes_last,
        replay::what_was_processed_is_replayed_without_a_second_effect,
        replay::a_dead_letter_takes_effect_once_and_is_told_as_a_replay,
        replay::a_dead_connect_is_history_once_however_often_it_is_replayed,
        replay::newer_data_survives_a_replay,
        replay::a_replay_changes_what_it_can_change,
        replay::a_dead_copy_of_what_was_processed_is_a_duplicate_after_its_replay,
        replay::what_was_set_aside_or_too_old_takes_effect_when_it_can,
        replay::what_fails_again_stays_dead_with_its_new_reason,
        replay::a_run_is_kept_and_changed_only_from_where_it_was,
        replay::deliveries_of_a_run_come_in_order_and_the_lost_ones_are_named,
        usage::a_delivery_is_counted_once_however_often_it_is_handed_out,
        usage::what_is_kept_without_effects_is_counted_once,
        usage::data_that_changes_no_record_is_told_apart,
        usage::what_we_asked_for_is_told_from_what_came_by_itself,
        usage::a_connection_over_its_free_events_is_listed,
        usage::usage_pages_without_gap_or_repetition,
        usage::batches_side_by_side_lose_no_count,
        usage::months_are_counted_apart,
        why::a_person_is_found_by_user_reference_and_terra_user,
        why::records_of_a_day_are_the_newest_versions_and_tombstones_too,
        why::what_goes_over_midnight_is_of_both_days,
        why::events_about_a_record_are_found_by_id_and_while_they_are_held,
        silence::a_rhythm_is_learned_from_live_data_alone,
        silence::a_stale_connection_is_told_once_and_once_when_it_is_fresh,
        silence::who_left_is_not_stale,
        silence::a_provider_that_stops_is_silent_and_nobody_is_stale,
        silence::verdicts_of_one_who_lost_the_lease_are_not_kept,
    ]);
}

mod reference_is_resolved {
    contract!(store as Resolved on [embedded, postgres]: [
        resolver::a_reference_waits_for_its_resolver,
        resolver::an_unknown_reference_is_asked_again_later,
        resolver::a_clock_a_day_ahead_keeps_no_question_for_a_day,
        resolver::two_references_of_one_user_join,
        resolver::two_references_of_two_users_are_in_dispute,
    ]);
}
