//! Webhooks in any order, lost or late, and a reconcile at any moment: the same state.

use proptest::prelude::*;

use super::*;
use crate::id::{ConnectionId, UserId};
use crate::identity::{Connection, Edge, Fact, Resolution, Said, Status, conclude};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// When the stories begin: ms since the epoch.
const BEGIN: i64 = 1_700_000_000_000;

fn environment() -> Environment {
    Environment::new("default")
}

fn key(name: &str) -> AliasKey {
    AliasKey::new(&environment(), name)
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(BEGIN + ms).unwrap()
}

/// What happens to people at Terra. Each is a webhook too.
#[derive(Debug, Clone)]
enum Happens {
    Auth { id: String, person: &'static str },
    Data { id: String },
    Scopes { id: String, scopes: String },
    Deauth { id: String },
    Reauth { old: String, new: String },
}

#[derive(Debug, Clone)]
struct Webhook {
    ms: i64,
    what: Happens,
}

/// Terra's users as they are at one moment.
#[derive(Debug, Clone, Default)]
struct Truth(BTreeMap<String, User>);

impl Truth {
    fn at(story: &[Webhook], ms: i64) -> Truth {
        let mut truth = Truth::default();
        for webhook in story.iter().filter(|webhook| webhook.ms <= ms) {
            truth.happen(webhook);
        }
        truth
    }

    fn happen(&mut self, webhook: &Webhook) {
        let user = |id: &str, person: Option<String>| User {
            user_id: id.into(),
            provider: Some("GARMIN".into()),
            reference_id: person,
            scopes: Some(vec!["all".into()]),
            active: Some(true),
            created_at: Some(time(webhook.ms)),
            last_webhook_update: Some(time(webhook.ms).to_string()),
        };
        match &webhook.what {
            Happens::Auth { id, person } => {
                self.0.insert(id.clone(), user(id, Some((*person).into())));
            }
            Happens::Data { id } => {
                if let Some(user) = self.0.get_mut(id) {
                    user.last_webhook_update = Some(time(webhook.ms).to_string());
                }
            }
            Happens::Scopes { id, scopes } => {
                if let Some(user) = self.0.get_mut(id) {
                    user.scopes = Some(vec![scopes.clone()]);
                }
            }
            Happens::Deauth { id } => {
                self.0.remove(id);
            }
            Happens::Reauth { old, new } => {
                if let Some(gone) = self.0.remove(old) {
                    self.0.insert(new.clone(), user(new, gone.reference_id));
                }
            }
        }
    }
}

/// A store in a few lines.
#[derive(Debug, Clone, Default)]
struct Facts {
    aliases: BTreeMap<AliasKey, Alias>,
    edges: BTreeMap<(AliasKey, AliasKey), Edge>,
}

impl Facts {
    fn absorb(&mut self, fact: &Fact) {
        let birth_id = ConnectionId(Uuid::from_u128(self.aliases.len() as u128));
        self.aliases.entry(fact.alias.clone()).or_insert_with(|| Alias::new(fact.alias.clone(), birth_id)).absorb(fact);
    }

    fn receive(&mut self, webhook: &Webhook, truth: &Truth) {
        let order = Order::at(BEGIN + webhook.ms);
        let fact = |id: &str, said| {
            let user = truth.0.get(id);
            Fact {
                alias: key(id),
                order,
                said,
                provider: Some("GARMIN".into()),
                reference: user.and_then(|user| user.reference_id.as_deref()).map(ReferenceId::new),
                scopes: user.and_then(|user| user.scopes.clone()),
            }
        };
        match &webhook.what {
            Happens::Auth { id, .. } => self.absorb(&fact(id, Said::Authenticated)),
            Happens::Data { id } => self.absorb(&fact(id, Said::Seen)),
            Happens::Scopes { id, .. } => self.absorb(&fact(id, Said::Mentioned)),
            Happens::Deauth { id } => self.absorb(&fact(id, Said::Closed)),
            Happens::Reauth { old, new } => {
                self.absorb(&fact(old, Said::Mentioned));
                self.absorb(&fact(new, Said::Reauthenticated));
                self.absorb(&fact(new, Said::Authenticated));
                let edge = Edge { old: key(old), new: key(new), order, severed: false };
                self.edges.insert((key(old), key(new)), edge);
            }
        }
    }

    fn known(&self) -> Vec<Known> {
        let replaced = |alias: &Alias| self.edges.keys().any(|(old, _)| *old == alias.key);
        self.aliases.values().map(|alias| Known { alias: alias.clone(), replaced: replaced(alias) }).collect()
    }

    fn take(&mut self, finding: &Finding) {
        let plan = crate::plan::reconciled(
            ReconcileId(Uuid::nil()),
            &environment(),
            finding,
            time(0),
            &crate::plan::Context::default(),
        );
        plan.facts.iter().for_each(|fact| self.absorb(fact));
    }

    /// A whole reconcile: what Terra lists at one moment, and what it says of each in doubt a little later. Our clock is
    /// `skew` ahead of Terra's.
    fn reconcile(&mut self, story: &[Webhook], ms: i64, later: i64, skew: i64) -> Comparison {
        let snapshot = Snapshot {
            environment: environment(),
            started_at: time(ms + skew),
            listed_before: None,
            users: Truth::at(story, ms).0.into_values().collect(),
        };
        let now = Truth::at(story, later);
        let comparison = compare(&snapshot, &self.known());
        comparison.findings.iter().for_each(|finding| self.take(finding));
        for finding in &comparison.doubtful {
            let said = now.0.get(finding.terra_user_id()).map(|_| true);
            if bears_out(finding, said) {
                self.take(finding);
            }
        }
        comparison
    }

    fn state(&self) -> Vec<Connection> {
        let aliases: Vec<Alias> = self.aliases.values().cloned().collect();
        let edges: Vec<Edge> = self.edges.values().cloned().collect();
        let mut state = conclude(&aliases, &edges, |_, reference| Resolution::Found(UserId::new(reference.as_str())));
        for connection in &mut state {
            connection.id = ConnectionId(Uuid::nil());
        }
        state.sort_by(|a, b| a.members.cmp(&b.members));
        state
    }
}

/// Stories of three people: connecting, leaving, coming back under another id.
fn story() -> impl Strategy<Value = Vec<Webhook>> {
    let step = (0_usize..3, 0_u8..5, 1_i64..90);
    prop::collection::vec(step, 1..14).prop_map(|steps| {
        let people = ["ann", "bob", "eve"];
        let mut ids: [Option<String>; 3] = [None, None, None];
        let (mut ms, mut number, mut story) = (0, 0, Vec::new());
        for (person, what, minutes) in steps {
            ms += minutes * MINUTE;
            let id = ids[person].clone();
            let what = match (what, id) {
                (0 | 1, None) => {
                    number += 1;
                    ids[person] = Some(format!("{}-{number}", people[person]));
                    Happens::Auth { id: ids[person].clone().unwrap(), person: people[person] }
                }
                (2, Some(old)) => {
                    number += 1;
                    ids[person] = Some(format!("{}-{number}", people[person]));
                    Happens::Reauth { old, new: ids[person].clone().unwrap() }
                }
                (3, Some(id)) => {
                    ids[person] = None;
                    Happens::Deauth { id }
                }
                (4, Some(id)) => Happens::Scopes { id, scopes: format!("s{ms}") },
                (_, Some(id)) => Happens::Data { id },
                (_, None) => continue,
            };
            story.push(Webhook { ms, what });
        }
        story
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1_024)))]

    #[test]
    fn webhooks_in_any_order_and_reconciles_at_any_moment_end_alike(
        story in story(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 14),
        moments in prop::collection::vec((0_i64..1_400, 0_i64..5, -8_i64..8, any::<prop::sample::Index>()), 0..3),
    ) {
        let deliver = |facts: &mut Facts, webhook: &Webhook| facts.receive(webhook, &Truth::at(&story, webhook.ms));
        let mut plain = Facts::default();
        story.iter().for_each(|webhook| deliver(&mut plain, webhook));

        // The same webhooks shuffled; a reconcile after some of them, whatever of them Terra's clock has reached.
        let mut shuffled: Vec<usize> = (0..story.len()).collect();
        for (place, index) in order.iter().enumerate().take(story.len()) {
            let other = place + index.index(story.len() - place);
            shuffled.swap(place, other);
        }
        let mut facts = Facts::default();
        for place in 0..=story.len() {
            for (minutes, later, skew, after) in &moments {
                // What has arrived has happened.
                let arrived = shuffled[..place].iter().map(|index| story[*index].ms).max().unwrap_or(0);
                if after.index(story.len() + 1) == place {
                    let ms = arrived.max(minutes * MINUTE);
                    facts.reconcile(&story, ms, ms + later * MINUTE, skew * MINUTE);
                }
            }
            if let Some(index) = shuffled.get(place) {
                deliver(&mut facts, &story[*index]);
            }
        }
        prop_assert_eq!(plain.state(), facts.state());
    }

    #[test]
    fn where_webhooks_were_lost_a_reconcile_long_after_knows_who_is_connected(
        story in story(),
        lost in prop::collection::vec(any::<bool>(), 14),
    ) {
        let mut facts = Facts::default();
        for (webhook, lost) in story.iter().zip(&lost) {
            if !lost {
                facts.receive(webhook, &Truth::at(&story, webhook.ms));
            }
        }
        let end = story.last().map_or(0, |webhook| webhook.ms) + 2 * HOUR;
        facts.reconcile(&story, end, end, 0);
        let connected: BTreeSet<String> = Truth::at(&story, end).0.into_keys().collect();
        let active: BTreeSet<String> = facts
            .state()
            .into_iter()
            .filter(|connection| connection.status == Status::Active)
            .map(|connection| connection.current.terra_user_id.to_string())
            .collect();
        prop_assert_eq!(connected, active);
        let before = facts.clone();
        let again = facts.reconcile(&story, end + HOUR, end + HOUR, 0);
        prop_assert!(again.findings.is_empty() && again.doubtful.is_empty(), "a second one finds nothing: {:?}", again);
        prop_assert_eq!(before.state(), facts.state());
    }

    #[test]
    fn a_listing_is_read_to_its_end_or_not_at_all(users in 0_usize..60, per_page in 1_usize..20, paged: bool) {
        let mut page = 0;
        let mut read = 0;
        loop {
            let start = page as usize * per_page;
            let here = users.saturating_sub(start).min(per_page);
            let max_page = users.div_ceil(per_page).saturating_sub(1) as u32;
            let (next, max_page) = if paged { ((page < max_page).then_some(page + 1), Some(max_page)) } else { (None, None) };
            read += here;
            match next_page(PageRead { page, next, max_page, users: here, new: here }, per_page) {
                Next::Page(next) => page = next,
                Next::Whole => break,
                Next::Broken => prop_assert!(false, "page {} of {:?}", page, max_page),
            }
        }
        prop_assert_eq!(read, users);
    }
}

fn auth(ms: i64, id: &str) -> Webhook {
    Webhook { ms, what: Happens::Auth { id: id.into(), person: "ann" } }
}

fn snapshot(ms: i64, users: Vec<User>) -> Snapshot {
    Snapshot { environment: environment(), started_at: time(ms), listed_before: None, users }
}

fn facts_of(story: &[Webhook]) -> Facts {
    let mut facts = Facts::default();
    for webhook in story {
        facts.receive(webhook, &Truth::at(story, webhook.ms));
    }
    facts
}

#[test]
fn what_is_younger_than_the_margin_is_left_to_its_webhooks() {
    let facts = facts_of(&[auth(0, "a")]);
    let gone_at = |ms| compare(&snapshot(ms, vec![]), &facts.known()).gone();
    assert_eq!((gone_at(9 * MINUTE), gone_at(11 * MINUTE)), (0, 1));
    let closed = facts_of(&[auth(0, "a"), Webhook { ms: HOUR, what: Happens::Deauth { id: "a".into() } }]);
    let listed = |ms| compare(&snapshot(ms, Truth::at(&[auth(0, "a")], ms).0.into_values().collect()), &closed.known());
    assert!(listed(HOUR + 5 * MINUTE).doubtful.is_empty(), "the deauth is newer than the list");
    assert!(matches!(listed(2 * HOUR).doubtful[..], [Finding::Reopened { .. }]));
    assert!(!bears_out(&listed(2 * HOUR).doubtful[0], None), "and Terra has to say so");
}

#[test]
fn who_was_replaced_may_be_unknown_to_terra() {
    let story = [auth(0, "a"), Webhook { ms: HOUR, what: Happens::Reauth { old: "a".into(), new: "b".into() } }];
    let facts = facts_of(&story);
    let comparison =
        compare(&snapshot(3 * HOUR, Truth::at(&story, 3 * HOUR).0.into_values().collect()), &facts.known());
    assert!(comparison.doubtful.is_empty() && comparison.findings.is_empty(), "{comparison:?}");
    assert_eq!((comparison.seen, comparison.open), (1, 1));
}

#[test]
fn many_gone_at_once_are_not_believed() {
    assert!(!is_unlikely(0, 0, 20) && !is_unlikely(1, 1, 20), "one may always go");
    assert!(!is_unlikely(20, 100, 20) && is_unlikely(21, 100, 20));
    assert!(is_unlikely(2, 2, 20) && is_unlikely(1_000, 1_000, 20));
    assert!(!is_unlikely(100, 100, 100));
}

#[test]
fn what_terra_sent_and_we_do_not_have_is_a_gap() {
    let facts = facts_of(&[auth(0, "a")]);
    let mut user = Truth::at(&[auth(0, "a")], 0).0.remove("a").unwrap();
    let mut gaps = |sent: i64, now: i64| {
        user.last_webhook_update = Some(time(sent).to_string());
        compare(&snapshot(now, vec![user.clone()]), &facts.known()).gaps
    };
    assert!(gaps(10 * MINUTE, 5 * HOUR).is_empty(), "about what we have");
    assert!(gaps(5 * HOUR, 5 * HOUR + MINUTE).is_empty(), "may be on its way");
    let found = gaps(50 * HOUR, 52 * HOUR);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].days.start, time(0).to_zoned(TimeZone::UTC).date());
    assert_eq!(found[0].days.end, time(74 * HOUR).to_zoned(TimeZone::UTC).date());
}

#[test]
fn only_a_recent_connect_is_asked_for_its_history() {
    let user = |ms: i64| Truth::at(&[auth(ms, "a")], ms).0.remove("a").unwrap();
    let is_recent = |created: i64, listed_before: Option<i64>| {
        let snapshot = Snapshot { listed_before: listed_before.map(time), ..snapshot(100 * HOUR, vec![user(created)]) };
        match &compare(&snapshot, &[]).findings[..] {
            [Finding::Opened { is_recent, order, .. }] => {
                assert_eq!(order.ms(), BEGIN + created);
                *is_recent
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(is_recent(99 * HOUR, None));
    assert!(!is_recent(10 * HOUR, None), "an account of years is not fetched because we are new");
    assert!(is_recent(10 * HOUR, Some(9 * HOUR)), "but what was missed since we last looked is");
}
