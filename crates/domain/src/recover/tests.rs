//! What was missed, what is left to REST, and the last sentence.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + seconds).unwrap()
}

fn event(id: &str, kind: &str, user: &str, seconds: i64) -> Missed {
    Missed {
        environment: Environment::new("default"),
        event_id: id.into(),
        event_type: kind.into(),
        terra_user_id: user.into(),
        sent_at: at(seconds),
        state: MissedState::Pending,
        resent_at: None,
        attempts: 0,
    }
}

fn recovery(step: Step, progress: Progress) -> Recovery {
    Recovery {
        id: RecoveryId(Uuid::nil()),
        environment: None,
        from: at(0),
        to: at(HOUR),
        kinds: Vec::new(),
        dry_run: false,
        actor: "test".into(),
        requested_at: at(0),
        started_at: None,
        finished_at: None,
        step,
        progress,
        reason: None,
    }
}

#[track_caller]
fn check_unlogged(from: i64, to: i64, now: i64, has_log: bool, expected: Option<(i64, i64)>) {
    let expected = expected.map(|(from, to)| Pause { from: at(from), to: at(to) });
    assert_eq!(unlogged(at(from), at(to), at(now), has_log), expected);
}

#[test]
fn the_log_covers_a_fortnight_and_the_first_day_of_an_outage() {
    check_unlogged(0, 3 * HOUR, DAY, true, None);
    check_unlogged(0, 3 * HOUR, DAY, false, Some((0, 3 * HOUR)));
    check_unlogged(0, 3 * DAY, 4 * DAY, true, Some((DAY, 3 * DAY)));
    check_unlogged(0, 3 * HOUR, 20 * DAY, true, Some((0, 3 * HOUR)));
    check_unlogged(0, 20 * HOUR, 14 * DAY + HOUR, true, Some((0, HOUR)));
    check_unlogged(0, 3 * DAY, 15 * DAY, true, Some((0, 3 * DAY)));
}

#[test]
fn several_attempts_are_one_event_and_what_arrived_is_none() {
    let arrived = BTreeSet::from([(Environment::new("default"), "b".to_owned())]);
    let attempts = vec![event("a", "sleep", "u", 60), event("b", "daily", "u", 0), event("a", "sleep", "u", 30)];
    let missed = missed(attempts, &arrived);
    assert_eq!(missed, [event("a", "sleep", "u", 30)]);
}

#[test]
fn what_is_lost_is_asked_for_once_per_person_and_kind() {
    let lost = [
        event("a", "sleep", "u", 0),
        event("b", "sleep", "u", 5 * DAY),
        event("c", "daily", "u", 0),
        event("d", "hormone", "u", 0),
        event("e", "auth", "u", 0),
        event("f", "sleep", "", 0),
        event("g", "lab_report.completed", "", 0),
        event("h", "healthcheck", "", 0),
    ];
    let wishes = rest(&lost);
    assert_eq!(wishes.len(), 2);
    assert_eq!((wishes[0].1, wishes[0].2.days()), (DataKind::Sleep, 7), "from the day before to the day of the last");
    assert_eq!(wishes[1].1, DataKind::Daily);
    assert_eq!(
        beyond_reach(&lost),
        BTreeMap::from([("hormone".to_owned(), 1), ("lab_report.completed".to_owned(), 1)])
    );
}

#[test]
fn an_event_is_sent_again_three_times_at_most() {
    let after = |attempts, processed, delivered, seconds| {
        let event = Missed { attempts, ..event("a", "sleep", "u", 0) };
        event.after(processed, delivered, SignedDuration::from_secs(seconds))
    };
    assert_eq!(after(1, true, None, 1), MissedState::Arrived);
    assert_eq!(after(1, false, Some(true), 9), MissedState::Arrived, "under another trace id");
    assert_eq!(after(1, false, None, 9), MissedState::Resent);
    assert_eq!(after(1, false, None, 120), MissedState::Lost);
    assert_eq!(after(2, false, Some(false), 9), MissedState::Pending);
    assert_eq!(after(3, false, Some(false), 9), MissedState::Lost);
}

#[test]
fn a_preview_says_count_duration_and_cost() {
    let mut progress = Progress {
        pauses: vec![Pause { from: at(0), to: at(3 * HOUR) }],
        has_log: true,
        events: 120,
        events_by_type: BTreeMap::from([("daily".to_owned(), 80), ("sleep".to_owned(), 40)]),
        requests: 30,
        ..Progress::default()
    };
    progress.estimate(Rates { resend: 5, fetch: 10 });
    let said = preview(&recovery(Step::Previewed, progress));
    assert_eq!(
        said,
        "We received nothing from 2026-02-02T02:40:00Z to 2026-02-02T05:40:00Z (3 h). Terra's log has 120 events that it \
         could not deliver (80 daily, 40 sleep); they are sent again. That is about 57 s of work, 30 requests for data, \
         and at least 150 events on Terra's bill."
    );
}

#[test]
fn the_end_is_a_sentence() {
    let progress = Progress { events: 3, arrived: 3, requests: 2, ..Progress::default() };
    assert_eq!(progress.end(), Step::Complete);
    assert_eq!(
        words::sentence(&recovery(Step::Complete, progress.clone())),
        "Complete: 3 of 3 events that Terra could not deliver have arrived, and Terra took 2 requests for data for the rest."
    );
    let short = Progress {
        arrived: 2,
        lost: 1,
        beyond_reach: BTreeMap::from([("hormone".to_owned(), 1)]),
        requests_failed: 1,
        ..progress
    };
    assert_eq!(short.end(), Step::Incomplete);
    assert_eq!(
        words::sentence(&recovery(Step::Incomplete, short)),
        "Incomplete: still missing are events that nothing brings back (1 hormone), and 1 of 2 requests for data failed \
         (/v1/fetches?state=failed); 2 of 3 events that Terra could not deliver have arrived, and Terra took 1 requests \
         for data for the rest."
    );
}

proptest! {
    #[test]
    fn every_lost_event_is_asked_for_or_named_as_beyond_reach(
        events in prop::collection::vec((0_usize..27, 0_i64..20 * DAY, 0_u8..4), 0..40),
    ) {
        let lost: Vec<Missed> = events
            .iter()
            .enumerate()
            .map(|(number, (kind, seconds, user))| {
                event(&number.to_string(), Kind::ALL[*kind].label(), &format!("u{user}"), *seconds)
            })
            .collect();
        let wishes = rest(&lost);
        for event in &lost {
            let date = event.sent_at.to_zoned(TimeZone::UTC).date();
            let is_asked = wishes.iter().any(|(alias, kind, days)| {
                alias.terra_user_id.as_str() == event.terra_user_id
                    && kind.label() == event.event_type
                    && days.start < date
                    && date < days.end
            });
            let is_fetchable = HISTORY_KINDS.iter().any(|kind| kind.label() == event.event_type);
            prop_assert_eq!(is_asked, is_fetchable);
            prop_assert!(is_fetchable || is_within_reach(&event.event_type) || beyond_reach(&lost).contains_key(&event.event_type));
        }
    }

    #[test]
    fn the_unlogged_time_lies_within_the_outage(from in 0_i64..30 * DAY, hours in 1_i64..200, later in 0_i64..30 * DAY, has_log: bool) {
        let (from, to) = (at(from), at(from + hours * HOUR));
        let now = to + SignedDuration::from_secs(later);
        if let Some(pause) = unlogged(from, to, now, has_log) {
            prop_assert!(from <= pause.from && pause.from <= pause.to && pause.to <= to);
            prop_assert!(has_log || (pause.from, pause.to) == (from, to));
        } else {
            prop_assert!(has_log && to.duration_since(from) <= DISABLED_AFTER && now.duration_since(from) <= LOG_KEPT);
        }
    }
}
