//! Records: each kind once, and the same record several times.

use serde_json::json;

use crate::event::{lab_report_completed, lab_report_flat, null_scores, set_upload_type};
use crate::generate::{Detail, RECORD_TYPES, daily_so_far, lab_results};
use crate::scenario::end::{Connection, End, EndUser, Item};
use crate::scenario::script::{Cast, Delivery, Script, Step, connect, event};
use crate::scenario::{Line, NONE};

pub(super) const ALL: &[Line] = &[
    (
        "every-kind",
        "One record of every kind of data, and a laboratory report in both of its shapes.",
        "One record of every kind, and two reports.",
        NONE,
        every_kind,
    ),
    (
        "superset-daily",
        "A day's totals as they grow, delivered out of order and twice.",
        "One day, with the totals of the whole day.",
        NONE,
        superset,
    ),
    (
        "late-retry-older",
        "A workout and its correction; the first delivery arrives after the correction.",
        "One workout, with the values of the correction.",
        NONE,
        late_retry,
    ),
    (
        "nulled-scores",
        "A night, a day and a workout come again with more values and without their scores.",
        "The new values, and the scores of the first delivery.",
        NONE,
        nulled,
    ),
    (
        "deleted-workout",
        "Two workouts; one of them is deleted (upload_type 4), and its first delivery comes once more.",
        "One workout; the other is deleted and stays so.",
        NONE,
        deleted,
    ),
];

fn every_kind(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let mut steps = Vec::from(connect(&user, 0));
    let mut end = EndUser::of(&user, Connection::Connected);
    for (place, kind) in RECORD_TYPES.into_iter().chain(["athlete"]).enumerate() {
        let record = cast.record(kind, &user, 1);
        end = end.only(kind, vec![Item::of(kind, &record)]);
        steps.push(Delivery::of(place + 1, event(kind, &user, vec![record])).send());
    }
    let mut reports = Vec::new();
    let now = format!("{}T09:00:00.000000Z", cast.today);
    for (place, shape) in ["envelope", "flat"].into_iter().enumerate() {
        // Too large for a float, so it is a string.
        let session_id = format!("30000000000000000{place}");
        let mut data = lab_results(cast.seed, &session_id, cast.day(2));
        data["reference_id"] = json!(user.reference_id);
        reports.push(Item::of("lab_report", &data));
        let event = match shape {
            "flat" => lab_report_flat(&now, &data),
            _ => lab_report_completed(&cast.id(shape), None, &now, &data),
        };
        let reference = Some(session_id);
        steps.push(Delivery { reference, ..Delivery::of(20 + place, event) }.send());
    }
    Script { steps, end: End { users: vec![end], lab_reports: reports, ..End::default() } }
}

fn superset(cast: &Cast) -> Script {
    let user = cast.user(0, "FITBIT", 1);
    let so_far = |share| daily_so_far(cast.seed, &user.user_id, cast.day(1), Detail::Summary, share);
    let send = |made, share| Delivery::of(made, event("daily", &user, vec![so_far(share)])).send();
    let mut steps = Vec::from(connect(&user, 0));
    steps.extend([
        send(2, 0.6),
        send(1, 0.3),
        Step::Again(1),
        send(4, 1.0),
        send(3, 0.8),
        Step::Again(4),
        Step::Again(2),
    ]);
    let end = EndUser::of(&user, Connection::Connected).only("daily", vec![Item::of("daily", &so_far(1.0))]);
    Script { steps, end: End { users: vec![end], ..End::default() } }
}

fn late_retry(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let first = cast.record("activity", &user, 1);
    let mut corrected = first.clone();
    corrected["metadata"]["name"] = json!("Corrected by hand");
    corrected["metadata"]["upload_type"] = json!(3);
    corrected["distance_data"]["summary"]["distance_meters"] = json!(12_345.5);
    let mut steps = Vec::from(connect(&user, 0));
    steps.push(Delivery::of(2, event("activity", &user, vec![corrected.clone()])).send());
    steps.push(Delivery::of(1, event("activity", &user, vec![first])).send());
    let end = EndUser::of(&user, Connection::Connected).only("activity", vec![Item::of("activity", &corrected)]);
    Script { steps, end: End { users: vec![end], ..End::default() } }
}

fn nulled(cast: &Cast) -> Script {
    let user = cast.user(0, "OURA", 1);
    let mut steps = Vec::from(connect(&user, 0));
    let mut end = EndUser::of(&user, Connection::Connected);
    for (place, (kind, grown, score)) in [
        ("sleep", "sleep_durations_data.sleep_efficiency", "sleep_score"),
        ("daily", "distance_data.steps", "total_stress_score"),
        ("activity", "distance_data.summary.distance_meters", "strain_score"),
    ]
    .into_iter()
    .enumerate()
    {
        let first = cast.record(kind, &user, 1);
        let mut later = event(kind, &user, vec![first.clone()]);
        // The path is one of the generators' own, so that it fits.
        crate::set_path(&mut later, &format!("data.0.{grown}"), json!(99_999)).ok();
        null_scores(&mut later);
        let kept = &first["data_enrichment"][score];
        end = end.only(kind, vec![Item::of(kind, &later["data"][0]).with(&[(score, kept)])]);
        steps.push(Delivery::of(2 * place + 1, event(kind, &user, vec![first.clone()])).send());
        steps.push(Delivery::of(2 * place + 2, later).send());
    }
    Script { steps, end: End { users: vec![end], ..End::default() } }
}

fn deleted(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let (stays, goes) = (cast.record("activity", &user, 1), cast.record("activity", &user, 2));
    let mut tombstone = event("activity", &user, vec![goes.clone()]);
    set_upload_type(&mut tombstone, 4);
    let mut steps = Vec::from(connect(&user, 0));
    steps.extend([
        Delivery::of(1, event("activity", &user, vec![stays.clone(), goes.clone()])).send(),
        Delivery::of(2, tombstone).send(),
        Step::Again(1),
        // Not a duplicate to who compares ids: made before the deletion, delivered after it.
        Delivery::of(1, event("activity", &user, vec![goes.clone()])).send(),
    ]);
    let end = EndUser::of(&user, Connection::Connected)
        .only("activity", vec![Item::of("activity", &stays)])
        .deleted("activity", Item::of("activity", &goes).key);
    Script { steps, end: End { users: vec![end], ..End::default() } }
}
