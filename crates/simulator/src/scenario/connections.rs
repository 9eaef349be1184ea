//! People come, come back, and leave.

use serde_json::json;

use crate::event::{
    access_revoked, auth_failed, auth_success, connection_error, deauth, healthcheck, permission_change, processing,
    user_reauth,
};
use crate::scenario::end::{Connection, End, EndUser, Item};
use crate::scenario::script::{Cast, Delivery, Script, Step, connect, event, register};
use crate::scenario::{Line, NONE, RECONCILE};
use crate::settings::Dialect;

pub(super) const ALL: &[Line] = &[
    ("first-connect", "Somebody connects for the first time.", "One connection, connected.", NONE, first_connect),
    (
        "cancelled-connect",
        "Somebody presses cancel, once on each platform: auth_cancelled without a user, and auth with an error and a user that is deleted again.",
        "No connection; everything was accepted.",
        NONE,
        cancel,
    ),
    (
        "reconnect-new-id",
        "Somebody connects again and gets another user id: user_reauth, the new auth, data, and late the old id's deauth.",
        "One connection under the new id, connected; the old id leads to it; the data of both ids is there.",
        NONE,
        reconnect,
    ),
    ("deauth", "Somebody connects, sends a day, and disconnects.", "The connection is revoked.", NONE, leave),
    (
        "access-revoked",
        "Somebody takes the permission away at the provider.",
        "The connection is revoked.",
        NONE,
        revoke,
    ),
    (
        "connection-trouble",
        "The provider refuses somebody's connection, after a change of permissions.",
        "The connection is degraded, not revoked; its data is still there.",
        NONE,
        trouble,
    ),
    (
        "older-dialect",
        "Auth, data and informational events as the older platform sends them: the reference at top level, no trace id, no ordering timestamp, one event twice.",
        "One connection, connected; each record once, with the values of the newest delivery.",
        NONE,
        older,
    ),
    (
        "missed-auth",
        "Somebody connects, and the auth webhook is never sent.",
        "The connection is there, connected: found among Terra's users.",
        &[RECONCILE],
        missed_auth,
    ),
    (
        "gone-at-terra",
        "Somebody connected an hour ago, and is deleted at Terra without a webhook.",
        "The connection is revoked: Terra does not know the user any more.",
        &[RECONCILE],
        gone,
    ),
];

fn first_connect(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let end = End { users: vec![EndUser::of(&user, Connection::Connected)], ..End::default() };
    Script { steps: connect(&user, 0).into(), end }
}

fn cancel(cast: &Cast) -> Script {
    let attempt = cast.user(0, "GARMIN", 1);
    let told = |made, dialect| Delivery::of(made, auth_failed(dialect, &attempt, None, "access_denied")).send();
    let steps = vec![told(0, Dialect::Newer), told(1, Dialect::Older)];
    Script { steps, end: End { users: vec![EndUser::of(&attempt, Connection::Absent)], ..End::default() } }
}

fn reconnect(cast: &Cast) -> Script {
    let (old, new) = (cast.user(0, "GARMIN", 1), cast.user(0, "GARMIN", 2));
    let (before, after) = (cast.record("activity", &old, 3), cast.record("activity", &new, 1));
    let mut steps = Vec::from(connect(&old, 0));
    steps.extend([
        Delivery::of(1, event("activity", &old, vec![before.clone()])).send(),
        Step::Forget(old.user_id.clone()),
        register(&new),
        Delivery::of(2, user_reauth(Some(&old), &new)).send(),
        Delivery::of(3, auth_success(Dialect::Newer, &new, None)).send(),
        Delivery::of(5, event("activity", &new, vec![after.clone()])).send(),
        Delivery::of(4, deauth(&old)).send(),
    ]);
    let replaced = EndUser { replaced_by: Some(new.user_id.clone()), ..EndUser::of(&old, Connection::Replaced) };
    let items = vec![Item::of("activity", &before), Item::of("activity", &after)];
    let current = EndUser::of(&new, Connection::Connected).only("activity", items);
    Script { steps, end: End { users: vec![replaced, current], ..End::default() } }
}

fn leave(cast: &Cast) -> Script {
    let user = cast.user(0, "FITBIT", 1);
    let mut steps = Vec::from(connect(&user, 0));
    steps.extend([
        Delivery::of(1, event("daily", &user, vec![cast.record("daily", &user, 1)])).send(),
        Step::Forget(user.user_id.clone()),
        Delivery::of(2, deauth(&user)).send(),
    ]);
    Script { steps, end: End { users: vec![EndUser::of(&user, Connection::Revoked)], ..End::default() } }
}

fn revoke(cast: &Cast) -> Script {
    let user = cast.user(0, "OURA", 1);
    let mut steps = Vec::from(connect(&user, 0));
    steps.push(Delivery::of(1, access_revoked(&user)).send());
    Script { steps, end: End { users: vec![EndUser::of(&user, Connection::Revoked)], ..End::default() } }
}

fn trouble(cast: &Cast) -> Script {
    let mut user = cast.user(0, "OURA", 1);
    let daily = cast.record("daily", &user, 1);
    let mut steps = Vec::from(connect(&user, 0));
    steps.push(Delivery::of(1, event("daily", &user, vec![daily.clone()])).send());
    let removed = user.scopes.split_off(user.scopes.len().saturating_sub(1));
    steps.push(Delivery::of(2, permission_change(&user, &[], &removed)).send());
    steps.push(Delivery::of(3, connection_error(&user)).send());
    let end = EndUser::of(&user, Connection::Degraded).only("daily", vec![Item::of("daily", &daily)]);
    Script { steps, end: End { users: vec![end], ..End::default() } }
}

fn older(cast: &Cast) -> Script {
    let user = cast.user(0, "FITBIT", 1);
    let old = |made, event| Delivery { older: true, ..Delivery::of(made, event) };
    let (daily, activity) = (cast.record("daily", &user, 1), cast.record("activity", &user, 1));
    let mut partial = daily.clone();
    partial["distance_data"]["steps"] = json!(1);
    let mut steps = vec![
        register(&user),
        old(0, auth_success(Dialect::Older, &user, None)).send(),
        old(1, event("daily", &user, vec![partial])).send(),
        old(2, event("daily", &user, vec![daily.clone()])).send(),
        old(3, event("activity", &user, vec![activity.clone()])).send(),
        Step::Again(3),
    ];
    let now = format!("{}T12:00:00.000000+00:00", cast.today);
    steps.extend([old(4, processing(&user)).send(), old(5, healthcheck(&now)).send()]);
    let end = EndUser::of(&user, Connection::Connected)
        .only("daily", vec![Item::of("daily", &daily)])
        .only("activity", vec![Item::of("activity", &activity)]);
    Script { steps, end: End { users: vec![end], ..End::default() } }
}

fn missed_auth(cast: &Cast) -> Script {
    let user = cast.user(0, "WITHINGS", 1);
    let end = End { users: vec![EndUser::of(&user, Connection::Connected)], ..End::default() };
    Script { steps: vec![register(&user)], end }
}

fn gone(cast: &Cast) -> Script {
    let user = cast.user(0, "WITHINGS", 1);
    // An hour ago: of what is only minutes old nobody should conclude from a list that it is gone.
    let earlier = |made, event| Delivery { seconds_ago: 3_600, ..Delivery::of(made, event) }.send();
    let steps = vec![
        register(&user),
        earlier(0, auth_success(Dialect::Newer, &user, None)),
        earlier(1, event("body", &user, vec![cast.record("body", &user, 1)])),
        Step::Forget(user.user_id.clone()),
    ];
    Script { steps, end: End { users: vec![EndUser::of(&user, Connection::Revoked)], ..End::default() } }
}
