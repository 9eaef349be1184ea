//! The pages of the demo app.

use super::*;

fn session(status: &str) -> Session {
    let known = status == "connected";
    Session {
        user: "demo-alex".into(),
        status: status.into(),
        terra_user_id: known.then(|| "terra-user-1".into()),
        connection: known.then(|| "connection-1".into()),
        provider: known.then(|| "GARMIN".into()),
        reason: (status == "failed").then(|| "access_denied".into()),
    }
}

fn run() -> ActivityRow {
    let text = |text: &str| text.to_owned();
    ActivityRow {
        start: text("1 Mar 2026, 08:05"),
        name: text("Morning <Run>"),
        provider: text("GARMIN"),
        distance: text("10.4 km"),
        duration: text("54 min"),
        heart_rate: text("142 bpm"),
        calories: text("613 kcal"),
    }
}

#[track_caller]
fn connected_page(status: &str, activities: Vec<ActivityRow>, reloads: bool, words: &str) {
    let session = session(status);
    let waiting = session.is_open() && (!session.is_connected() || activities.is_empty());
    let html = Connected { name: "Alex", session: &session, activities, waiting }.render().unwrap();
    assert_eq!(html.contains("http-equiv=\"refresh\""), reloads, "{html}");
    assert!(html.contains(words), "{html}");
}

#[test]
fn the_page_loads_itself_again_until_there_is_something_to_see() {
    connected_page("pending", vec![], true, "Waiting for Terra");
    connected_page("connected", vec![], true, "terra-user-1");
    connected_page("connected", vec![run()], false, "10.4 km");
    connected_page("failed", vec![], false, "access_denied");
    connected_page("expired", vec![], false, "expired");
}

#[test]
fn what_a_provider_says_is_escaped() {
    connected_page("connected", vec![run()], false, "Morning &#60;Run&#62;");
}

#[test]
fn the_home_page_says_what_to_do_first() {
    let home = Home { users: &USERS, user: "demo-sam", name: "Sam", connections: vec![], activities: vec![] }
        .render()
        .unwrap();
    assert!(home.contains("Connect device") && home.contains("No device yet"), "{home}");
    assert!(home.contains("name=\"user\" value=\"demo-sam\""), "{home}");
    assert!(home.contains("aria-current=\"page\""), "{home}");
}

#[test]
fn a_stranger_in_the_query_is_the_first_sample_user() {
    assert_eq!(one_of_ours(Some("root")), USERS[0]);
    assert_eq!(one_of_ours(None), USERS[0]);
    assert_eq!(one_of_ours(Some("demo-kim")), USERS[2]);
}
