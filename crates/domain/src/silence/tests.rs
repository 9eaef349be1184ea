//! Rhythms as people have them, and verdicts on one person and on a whole provider.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn learned(times: impl IntoIterator<Item = i64>) -> Rhythm {
    let mut times = times.into_iter();
    let mut rhythm = Rhythm::begin(at(times.next().unwrap()));
    times.for_each(|seconds| rhythm.hear(at(seconds)));
    rhythm
}

#[track_caller]
fn check(rhythm: Rhythm, hours: std::ops::RangeInclusive<i64>) {
    let bound = rhythm.bound().expect("it is learned").as_hours();
    assert!(hours.contains(&bound), "{bound} h is not in {hours:?}");
}

#[test]
fn a_daily_rhythm_is_stale_after_two_days() {
    check(learned((0..30).map(|day| day * DAY)), 47..=48);
}

#[test]
fn an_hourly_rhythm_with_nights_lasts_over_the_night() {
    let waking = (0..14 * 24).filter(|hour| (7..23).contains(&(hour % 24))).map(|hour| hour * HOUR);
    check(learned(waking), 17..=18);
}

#[test]
fn bursts_between_days_do_not_make_the_days_look_long() {
    let bursts = (0..20).flat_map(|day| (0..40).map(move |second| day * DAY + second));
    check(learned(bursts), 47..=48);
}

#[test]
fn an_irregular_rhythm_is_given_the_time_of_its_longest_pauses() {
    // Pauses of 4 to 70 hours, as somebody has who steps on a scale now and then.
    let mut time = 0;
    let times: Vec<i64> = (0..60)
        .map(|step| {
            time += HOUR * [4, 70, 20, 9, 48, 30][step % 6];
            time
        })
        .collect();
    check(learned(times), 120..=140);
}

#[test]
fn little_is_no_rhythm() {
    assert_eq!(learned([0, DAY, 2 * DAY]).bound(), None, "three deliveries");
    assert_eq!(learned([0, 1, 2, 3, 4, DAY]).bound(), None, "one day");
    assert!(learned([0, 1, 2, 2 * DAY]).bound().is_some());
}

#[test]
fn an_outage_does_not_become_the_rhythm_and_a_new_rhythm_does_in_the_end() {
    let mut rhythm = learned((0..20).map(|day| day * DAY));
    rhythm.hear(at(40 * DAY));
    check(rhythm, 94..=97);
    (41..120).for_each(|day| rhythm.hear(at(day * DAY)));
    check(rhythm, 47..=50);
    let mut weekly = rhythm;
    (1..10).for_each(|week| weekly.hear(at((119 + 7 * week) * DAY)));
    check(weekly, 330..=336);
}

#[test]
fn a_late_delivery_moves_nothing_back() {
    let mut rhythm = learned((0..10).map(|day| day * DAY));
    let before = rhythm;
    rhythm.hear(at(3 * DAY));
    assert_eq!(rhythm, Rhythm { deliveries: before.deliveries + 1, ..before });
}

fn channel() -> Channel {
    Channel { environment: Environment::new("default"), provider: "OURA".into(), kind: "sleep".into() }
}

fn quiet(number: u128, last_at: Timestamp) -> Quiet {
    Quiet {
        connection: ConnectionId(Uuid::from_u128(number)),
        environment: Environment::new("default"),
        user: Some(UserId::new("ann")),
        terra_user_id: "u".into(),
        provider: Some("OURA".into()),
        last_at,
        bound: SignedDuration::from_hours(48),
    }
}

/// A provider whose people deliver every ten minutes, watched every five.
struct Provider {
    state: Option<ChannelState>,
    watch: Option<Watch>,
    users: u64,
    told: Vec<String>,
}

impl Provider {
    fn new(users: u64) -> Self {
        Provider { state: None, watch: None, users, told: Vec::new() }
    }

    fn look(&mut self, last_at: i64, now: i64) {
        let channels = vec![ChannelSeen {
            channel: channel(),
            users: self.users,
            last_at: at(last_at),
            before: self.state.clone(),
        }];
        let judged = judge(&Seen { watch: self.watch, channels, ..Seen::default() }, at(now));
        self.watch = Some(judged.watch);
        self.state = judged.channels.into_iter().next();
        self.told.extend(judged.events.into_iter().map(|event| format!("{}.{}", event.entity, event.verb)));
    }

    fn run(&mut self, from: i64, to: i64) {
        for now in (from..to).step_by(300) {
            self.look(now - now % 600, now);
        }
    }
}

#[test]
fn a_provider_that_stops_is_told_once_and_once_when_it_resumes() {
    let mut oura = Provider::new(412);
    oura.run(0, 3 * DAY);
    assert_eq!(oura.told, Vec::<String>::new());
    for now in (3 * DAY..3 * DAY + 6 * HOUR).step_by(300) {
        oura.look(3 * DAY, now);
    }
    assert_eq!(oura.told, ["provider.silent"]);
    assert_eq!(oura.state.as_ref().unwrap().silent.unwrap().users, 412);
    oura.run(3 * DAY + 6 * HOUR, 4 * DAY);
    assert_eq!(oura.told, ["provider.silent", "provider.resumed"]);
}

#[test]
fn nights_are_learned_and_are_no_silence() {
    let mut oura = Provider::new(412);
    for now in (0..6 * DAY).step_by(300) {
        let of_day = now % DAY;
        let last = if of_day < 16 * HOUR { now - now % 600 } else { now - of_day + 16 * HOUR };
        oura.look(last, now);
    }
    assert_eq!(oura.told, Vec::<String>::new());
}

#[test]
fn few_users_give_no_verdict() {
    let mut oura = Provider::new(USERS_MIN - 1);
    oura.run(0, 3 * DAY);
    (3 * DAY..5 * DAY).step_by(300).for_each(|now| oura.look(3 * DAY, now));
    assert_eq!(oura.told, Vec::<String>::new());
}

#[test]
fn our_own_absence_is_nobodys_silence() {
    let mut oura = Provider::new(412);
    oura.run(0, 3 * DAY);
    // Two days later we are back; Terra's retries come within minutes.
    oura.look(3 * DAY, 5 * DAY);
    oura.look(3 * DAY, 5 * DAY + 300);
    oura.look(5 * DAY + 400, 5 * DAY + 600);
    oura.run(5 * DAY + 900, 6 * DAY);
    assert_eq!(oura.told, Vec::<String>::new());
    // But silence goes on being one while we are there again.
    (6 * DAY..6 * DAY + 4 * HOUR).step_by(300).for_each(|now| oura.look(6 * DAY, now));
    assert_eq!(oura.told, ["provider.silent"]);
}

fn watch(now: i64) -> Option<Watch> {
    Some(Watch { since: at(-100 * DAY), checked_at: at(now - 300) })
}

#[test]
fn a_connection_is_stale_only_while_its_provider_delivers() {
    let now = 10 * DAY;
    let overdue = vec![quiet(1, at(now - 3 * DAY)), quiet(2, at(now - DAY))];
    let judged = judge(&Seen { watch: watch(now), overdue: overdue.clone(), ..Seen::default() }, at(now));
    assert_eq!(judged.stale, overdue[..1]);
    assert_eq!(judged.events.len(), 1);
    assert_eq!((judged.events[0].verb.as_str(), judged.events[0].subject.as_ref().unwrap().as_str()), ("stale", "ann"));
    let before = Some(ChannelState {
        channel: channel(),
        watched_since: at(0),
        checked_at: at(now - 300),
        heard_at: at(now - 6 * HOUR),
        longest: SignedDuration::from_hours(1),
        silent: None,
    });
    let silent = ChannelSeen { channel: channel(), users: 400, last_at: at(now - 6 * HOUR), before };
    let judged = judge(&Seen { watch: watch(now), overdue, channels: vec![silent], ..Seen::default() }, at(now));
    assert!(judged.stale.is_empty(), "it is the provider, not the person");
    assert_eq!(judged.events.len(), 1);
    assert_eq!(judged.events[0].entity, "provider");
}

#[test]
fn a_stale_connection_that_is_heard_of_is_fresh_and_one_that_was_revoked_is_nothing() {
    let now = 10 * DAY;
    let was =
        |heard: Option<i64>, is_open| WasStale { quiet: quiet(1, at(now - 3 * DAY)), heard_at: heard.map(at), is_open };
    let told = |was: WasStale| {
        let judged = judge(&Seen { watch: watch(now), stale: vec![was], ..Seen::default() }, at(now));
        (judged.ended.len(), judged.events.into_iter().map(|event| event.verb).collect::<Vec<_>>())
    };
    assert_eq!(told(was(Some(now - 60), true)), (1, vec!["fresh".to_owned()]));
    assert_eq!(told(was(Some(now - 3 * DAY), true)), (0, vec![]));
    assert_eq!(told(was(Some(now - 60), false)), (1, vec![]));
    assert_eq!(told(was(None, false)), (1, vec![]));
}

#[test]
fn silence_reads_as_people_say_it() {
    assert_eq!(words::silent(&channel(), 412, SignedDuration::from_hours(6)), "no sleep from OURA for 6 h, 412 users");
    assert_eq!(words::stale(Some("GARMIN"), SignedDuration::from_hours(80)), "this user's GARMIN is stale 3 days");
    assert_eq!(words::length(SignedDuration::from_mins(45)), "45 min");
}

proptest! {
    #[test]
    fn whoever_keeps_to_a_rhythm_is_never_stale(hours in 1_i64..200, jitter in prop::collection::vec(0_i64..3_600, 5..60)) {
        let mut rhythm: Option<Rhythm> = None;
        for (step, jitter) in jitter.iter().enumerate() {
            let now = at(step as i64 * hours * HOUR + jitter);
            if let Some(rhythm) = &mut rhythm {
                prop_assert!(rhythm.due_at().is_none_or(|due| due > now));
                rhythm.hear(now);
            } else {
                rhythm = Some(Rhythm::begin(now));
            }
        }
    }

    #[test]
    fn a_bound_never_shrinks_below_its_floor_or_runs_away(times in prop::collection::vec(0_i64..400 * DAY, 1..60)) {
        let mut times = times;
        times.sort_unstable();
        let rhythm = learned(times.iter().copied());
        if let Some(bound) = rhythm.bound() {
            let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            prop_assert!(bound >= CONNECTION.floor);
            prop_assert!(bound.as_secs() <= (2 * widest).max(CONNECTION.floor.as_secs()) + 1);
        }
    }
}
