//! Any order of arrival and any duplicates give the same account; a gap is asked for and nothing else.

use jiff::Span;
use jiff::civil::date;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const STALL: Duration = Duration::from_secs(600);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn day(offset: i32) -> Date {
    date(2026, 1, 1).checked_add(Span::new().days(offset)).unwrap()
}

fn year() -> Window {
    Window { start: day(0), end: day(365) }
}

fn window(start: i32, end: i32) -> Window {
    Window { start: day(start), end: day(end) }
}

/// Chunk `number` (from 1) of a request for a year: ten days each.
fn chunk(number: u32, received: i64) -> (String, Chunk) {
    let first = i32::try_from(number - 1).unwrap() * 10;
    let days = Some((day(first), day((first + 9).min(364))));
    let chunk = Chunk { number: Some(number), items: 10, bytes: 1_000, days, received_at: at(received) };
    (format!("trace:r:chunk:{number}"), chunk)
}

fn asked(number: u128, state: AskState, sent: Sent, gap: Option<(FetchJobId, u32)>) -> Asked {
    Asked {
        id: FetchJobId(Uuid::from_u128(number)),
        kind: Some(DataKind::Daily),
        window: Some(year()),
        state,
        since: at(0),
        bytes: 0,
        reference: Some("r".into()),
        sent,
        gap,
    }
}

fn announced(expected: u32, numbers: impl IntoIterator<Item = u32>) -> Sent {
    let mut sent = Sent::default();
    sent.absorb_announcement(Some(expected), at(1));
    for number in numbers {
        let (key, chunk) = chunk(number, i64::from(number));
        sent.absorb_chunk(&key, chunk);
    }
    sent
}

#[derive(Debug, Clone)]
enum Fact {
    Processing,
    Sending,
    Chunk(u32),
}

proptest! {
    #[test]
    fn any_order_and_any_duplicates_end_alike(
        facts in Just((1..=37).map(Fact::Chunk).chain([Fact::Processing, Fact::Sending]).collect::<Vec<_>>()).prop_shuffle(),
        again in proptest::collection::vec(0..39_usize, 0..30),
    ) {
        let mut sent = Sent::default();
        let all = facts.iter().chain(again.iter().map(|index| &facts[*index]));
        for (place, fact) in all.enumerate() {
            let place = i64::try_from(place).unwrap();
            match fact {
                Fact::Processing => sent.absorb_announcement(None, at(1)),
                Fact::Sending => sent.absorb_announcement(Some(43), at(2)),
                Fact::Chunk(number) => {
                    // A duplicate comes later than the first.
                    let (key, chunk) = chunk(*number, i64::from(*number) + place / 39 * 5_000);
                    sent.absorb_chunk(&key, chunk);
                }
            }
        }
        let mut whole = announced(43, 1..=37);
        whole.announced_at = Some(at(1));
        prop_assert_eq!(&sent, &whole);
        let one = [asked(1, AskState::Requested, sent, None)];
        let progress = progress(&one);
        prop_assert_eq!((progress.expected, progress.received, progress.bytes), (43, 37, 37_000));
    }

    /// Whatever is lost, what is asked for again holds every lost day, and not what lies far from any.
    #[test]
    fn what_is_asked_for_again_holds_every_lost_day(lost in proptest::collection::btree_set(1..=37_u32, 1..20), descending: bool) {
        let numbered = |place: u32| if descending { 38 - place } else { place };
        let mut sent = Sent::default();
        sent.absorb_announcement(Some(37), at(1));
        for place in (1..=37).filter(|place| !lost.contains(place)) {
            let (key, chunk) = chunk(place, 5);
            sent.absorb_chunk(&key, Chunk { number: Some(numbered(place)), ..chunk });
        }
        let again = missing(year(), &sent);
        for place in &lost {
            let (from, to) = chunk(*place, 0).1.days.unwrap();
            prop_assert!(again.iter().any(|window| window.start <= from && to < window.end), "{place}: {again:?}");
        }
        let days: i64 = again.iter().map(Window::days).sum();
        let most = lost.len() as i64 * 10 + again.len() as i64 * 2;
        let ends = [1, 2, 36, 37].iter().any(|end| lost.contains(end));
        prop_assert!(days <= most || ends, "{days} days for {} chunks", lost.len());
    }
}

#[test]
fn a_hole_is_asked_for_with_the_days_at_its_borders() {
    let sent = announced(37, (1..=37).filter(|number| !(12..=13).contains(number)));
    assert_eq!(missing(year(), &sent), [window(109, 131)]);
    let one = [asked(1, AskState::Requested, sent, None)];
    assert!(
        matches!(conclude(&one, at(600), STALL), Conclusion::Open { again, look_at } if again.is_empty() && look_at == at(637))
    );
    let Conclusion::Open { again, .. } = conclude(&one, at(637), STALL) else { panic!("open") };
    assert_eq!((again[0].round, &again[0].windows[..]), (1, &[window(109, 131)][..]));
    let progress = progress(&one);
    assert_eq!((progress.requested, progress.expected, progress.received), (1, 37, 35));
}

#[test]
fn without_numbers_the_days_that_nothing_covers_are_asked_for() {
    let mut sent = announced(37, (1..=37).filter(|number| *number != 5));
    for chunk in sent.chunks.values_mut() {
        chunk.number = None;
    }
    assert_eq!(missing(year(), &sent), [window(39, 51)]);
    assert_eq!(missing(year(), &Sent::default()), [year()], "nothing came");
}

#[test]
fn chunks_before_their_announcement_are_no_whole_request() {
    let mut sent = announced(2, 1..=2);
    assert!(sent.is_whole());
    (sent.announced_at, sent.expected) = (None, None);
    assert!(!sent.is_whole(), "numbered: how many there are is not known yet");
    let one = [asked(1, AskState::Requested, sent, None)];
    assert_eq!((progress(&one).expected, progress(&one).received), (3, 2));
}

#[test]
fn an_ordinary_request_is_whole_with_its_first_delivery() {
    let mut sent = Sent::default();
    assert_eq!(
        conclude(&[asked(1, AskState::Requested, sent.clone(), None)], at(5), STALL),
        Conclusion::Open { again: vec![], look_at: at(600) }
    );
    sent.absorb_chunk("trace:x", Chunk { number: None, items: 0, bytes: 90, days: None, received_at: at(3) });
    assert_eq!(conclude(&[asked(1, AskState::Requested, sent, None)], at(5), STALL), Conclusion::Complete);
    assert_eq!(conclude(&[asked(1, AskState::Answered, Sent::default(), None)], at(5), STALL), Conclusion::Complete);
}

#[test]
fn a_gap_that_comes_fills_and_one_that_never_comes_ends_after_three_rounds() {
    let root = asked(1, AskState::Requested, announced(37, (1..=37).filter(|number| *number != 12)), None);
    let gap = |number: u128, round: u32, state: AskState| asked(number, state, Sent::default(), Some((root.id, round)));
    let with = |gaps: &[Asked]| conclude(&[std::slice::from_ref(&root), gaps].concat(), at(10_000), STALL);
    assert!(matches!(with(&[gap(2, 1, AskState::Queued)]), Conclusion::Open { again, .. } if again.is_empty()));
    assert_eq!(with(&[gap(2, 1, AskState::Answered)]), Conclusion::Complete);
    let filled = [root.clone(), gap(2, 1, AskState::Answered)];
    assert_eq!(
        (progress(&filled).expected, progress(&filled).received),
        (37, 37),
        "what was asked for again counts once"
    );
    let refused = AskState::Failed { reason: "terra_failed".into() };
    let second = with(&[gap(2, 1, refused.clone())]);
    assert!(matches!(second, Conclusion::Open { again, .. } if again[0].round == 2));
    let three: Vec<Asked> = (1..=3).map(|round| gap(u128::from(round) + 1, round, refused.clone())).collect();
    assert_eq!(with(&three), Conclusion::Incomplete { reason: "terra_failed".into() });
}

#[test]
fn what_failed_leaves_a_backfill_incomplete_once_the_rest_has_come() {
    let failed = asked(1, AskState::Failed { reason: "not_enabled".into() }, Sent::default(), None);
    let queued = asked(2, AskState::Queued, Sent::default(), None);
    assert!(matches!(conclude(&[failed.clone(), queued], at(5), STALL), Conclusion::Open { .. }));
    let answered = asked(2, AskState::Answered, Sent::default(), None);
    assert_eq!(conclude(&[failed, answered], at(5), STALL), Conclusion::Incomplete { reason: "not_enabled".into() });
}

#[test]
fn a_request_of_somebody_else_cannot_be_asked_for_again() {
    let mut one = asked(1, AskState::Requested, announced(5, 1..=4), None);
    (one.kind, one.window) = (None, None);
    assert_eq!(conclude(&[one.clone()], at(9_999), STALL), Conclusion::Incomplete { reason: "days_unknown".into() });
    let (key, last) = chunk(5, 8);
    one.sent.absorb_chunk(&key, last);
    assert_eq!(conclude(&[one], at(9_999), STALL), Conclusion::Complete);
}
