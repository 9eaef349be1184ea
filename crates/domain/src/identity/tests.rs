//! Identity: any order of facts leads to the same connections.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::id::Environment;

fn key(name: &str) -> AliasKey {
    AliasKey::new(&Environment::new("default"), name)
}

fn fact(name: &str, ms: i64, said: Said, reference: Option<&str>) -> Fact {
    Fact {
        alias: key(name),
        order: Order::at(ms),
        said,
        provider: Some("GARMIN".into()),
        reference: reference.map(ReferenceId::new),
        scopes: Some(vec![format!("scope{ms}")]),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Fact(Fact),
    Edge(Edge),
}

/// A store in ten lines: facts absorbed as they come, conclusions drawn afterwards.
#[derive(Default)]
struct Facts {
    aliases: BTreeMap<AliasKey, Alias>,
    edges: BTreeMap<(AliasKey, AliasKey), Edge>,
    births: u128,
}

impl Facts {
    fn alias(&mut self, key: &AliasKey) -> &mut Alias {
        self.births += 1;
        let birth_id = ConnectionId(Uuid::from_u128(self.births));
        self.aliases.entry(key.clone()).or_insert_with(|| Alias::new(key.clone(), birth_id))
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Fact(fact) => self.alias(&fact.alias).absorb(fact),
            Step::Edge(edge) => {
                self.alias(&edge.old);
                self.alias(&edge.new);
                self.edges
                    .entry((edge.old.clone(), edge.new.clone()))
                    .and_modify(|kept| kept.order = kept.order.max(edge.order))
                    .or_insert_with(|| edge.clone());
            }
        }
    }

    fn conclude(&self) -> Vec<Connection> {
        let aliases: Vec<Alias> = self.aliases.values().cloned().collect();
        let edges: Vec<Edge> = self.edges.values().cloned().collect();
        conclude(&aliases, &edges, |_, reference| Resolution::Found(UserId::new(reference.as_str())))
    }

    /// The state without our own ids.
    fn state(&self) -> Vec<Connection> {
        let mut connections = self.conclude();
        for connection in &mut connections {
            connection.id = ConnectionId(Uuid::nil());
        }
        connections.sort_by(|a, b| a.members.cmp(&b.members));
        connections
    }
}

/// {auth(old), data(old), user_reauth(old→new), auth(new), data(new), deauth(old)}
fn six_events(
    old_reference: Option<&str>,
    new_reference: Option<&str>,
    data_reference: bool,
    reauth_reference: bool,
) -> Vec<Vec<Step>> {
    let when = |wanted: bool, reference: Option<&'static str>| if wanted { reference } else { None };
    let old_ref = old_reference.map(|r| if r == "ann" { "ann" } else { "bob" });
    let new_ref = new_reference.map(|r| if r == "ann" { "ann" } else { "bob" });
    vec![
        vec![Step::Fact(fact("old", 1, Said::Authenticated, old_ref))],
        vec![Step::Fact(fact("old", 2, Said::Seen, when(data_reference, old_ref)))],
        vec![
            Step::Fact(fact("old", 3, Said::Mentioned, when(reauth_reference, old_ref))),
            Step::Fact(fact("new", 3, Said::Reauthenticated, when(reauth_reference, new_ref))),
            Step::Edge(Edge { old: key("old"), new: key("new"), order: Order::at(3), severed: false }),
        ],
        vec![Step::Fact(fact("new", 4, Said::Authenticated, new_ref))],
        vec![Step::Fact(fact("new", 5, Said::Seen, when(data_reference, new_ref)))],
        vec![Step::Fact(fact("old", 6, Said::Closed, when(data_reference, old_ref)))],
    ]
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    permutations(n - 1)
        .into_iter()
        .flat_map(|rest| {
            (0..n).map(move |at| {
                let mut order = rest.clone();
                order.insert(at, n - 1);
                order
            })
        })
        .collect()
}

/// Whether anybody but `user` would see what came under `alias`.
fn shown_to_another(connections: &[Connection], alias: &str, user: &str) -> bool {
    connections
        .iter()
        .filter(|connection| connection.members.contains(&key(alias)))
        .any(|connection| connection.user.as_ref().is_some_and(|owner| owner.as_str() != user))
}

#[test]
fn all_720_orders_of_a_reauthentication_end_in_the_same_state() {
    for (data_reference, reauth_reference) in [(false, false), (true, false), (false, true), (true, true)] {
        let events = six_events(Some("ann"), Some("ann"), data_reference, reauth_reference);
        let mut expected = None;
        for order in permutations(6) {
            let mut facts = Facts::default();
            for index in &order {
                events[*index].iter().for_each(|step| facts.take(step));
            }
            let state = facts.state();
            assert_eq!(state.len(), 1, "one connection");
            assert_eq!((state[0].status, state[0].current.clone()), (Status::Active, key("new")));
            assert_eq!(*expected.get_or_insert(state.clone()), state, "order {order:?}");
        }
    }
}

#[test]
fn two_people_joined_by_a_reauthentication_never_see_each_other_in_any_order() {
    for (data_reference, reauth_reference) in [(false, false), (true, false), (false, true), (true, true)] {
        let events = six_events(Some("ann"), Some("bob"), data_reference, reauth_reference);
        for order in permutations(6) {
            let mut facts = Facts::default();
            for index in &order {
                events[*index].iter().for_each(|step| facts.take(step));
                let now = facts.conclude();
                assert!(
                    !shown_to_another(&now, "old", "ann") && !shown_to_another(&now, "new", "bob"),
                    "order {order:?} after {index}"
                );
            }
            let state = facts.state();
            assert_eq!(state.len(), 2);
            assert!(state.iter().all(|connection| connection.status == Status::Disputed));
        }
    }
}

#[test]
fn an_alias_without_reference_joins_once_its_own_auth_was_seen() {
    let mut facts = Facts::default();
    for step in six_events(Some("ann"), None, false, false).iter().flatten().take(5) {
        facts.take(step);
    }
    assert_eq!(facts.conclude().len(), 2, "the reference may still come");
    facts.take(&Step::Fact(fact("new", 4, Said::Authenticated, None)));
    assert_eq!(facts.conclude().len(), 1);
    assert_eq!(facts.conclude()[0].user, Some(UserId::new("ann")));
}

#[test]
fn severing_an_edge_gives_each_its_own_connection_back() {
    let mut facts = Facts::default();
    six_events(Some("ann"), Some("ann"), true, true).iter().flatten().for_each(|step| facts.take(step));
    let joined = facts.conclude()[0].id;
    facts.edges.values_mut().for_each(|edge| edge.severed = true);
    facts.aliases.get_mut(&key("new")).unwrap().assigned = Some(UserId::new("bob"));
    let split = facts.conclude();
    assert_eq!(split.len(), 2);
    assert!(split.iter().any(|connection| connection.id == joined), "the older id stays with its first alias");
    assert!(split.iter().all(|connection| connection.status != Status::Disputed));
}

#[test]
fn a_late_auth_below_the_deauth_does_not_reopen() {
    let mut facts = Facts::default();
    facts.take(&Step::Fact(fact("a", 6, Said::Closed, Some("ann"))));
    facts.take(&Step::Fact(fact("a", 4, Said::Authenticated, Some("ann"))));
    assert_eq!(facts.conclude()[0].status, Status::Revoked);
    facts.take(&Step::Fact(fact("a", 9, Said::Authenticated, Some("ann"))));
    assert_eq!(facts.conclude()[0].status, Status::Active);
}

#[test]
fn a_cycle_of_edges_ends_at_the_latest() {
    let mut facts = Facts::default();
    for (name, ms) in [("a", 1), ("b", 2)] {
        facts.take(&Step::Fact(fact(name, ms, Said::Authenticated, Some("ann"))));
    }
    facts.take(&Step::Edge(Edge { old: key("a"), new: key("b"), order: Order::at(5), severed: false }));
    facts.take(&Step::Edge(Edge { old: key("b"), new: key("a"), order: Order::at(7), severed: false }));
    assert_eq!(facts.conclude()[0].current, key("a"));
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let said = prop::sample::select(vec![
        Said::Authenticated,
        Said::Reauthenticated,
        Said::Closed,
        Said::Failed,
        Said::Seen,
        Said::Mentioned,
    ]);
    let reference = prop::sample::select(vec![None, Some("ann"), Some("bob")]);
    prop_oneof![
        (name.clone(), 0_i64..50, said, reference)
            .prop_map(|(name, ms, said, reference)| Step::Fact(fact(name, ms, said, reference))),
        (name.clone(), name, 0_i64..50).prop_map(|(old, new, ms)| Step::Edge(Edge {
            old: key(old),
            new: key(new),
            order: Order::at(ms),
            severed: false
        })),
    ]
}

proptest! {
    #[test]
    fn any_order_with_duplicates_concludes_the_same(steps in prop::collection::vec(any_step(), 1..12), shuffle in prop::collection::vec(any::<prop::sample::Index>(), 0..30)) {
        let mut straight = Facts::default();
        steps.iter().for_each(|step| straight.take(step));
        let mut shuffled = Facts::default();
        shuffle.iter().for_each(|index| shuffled.take(index.get(&steps)));
        steps.iter().rev().for_each(|step| shuffled.take(step));
        prop_assert_eq!(straight.state(), shuffled.state());
    }

    #[test]
    fn no_connection_holds_aliases_of_two_references(steps in prop::collection::vec(any_step(), 1..16)) {
        let mut facts = Facts::default();
        for step in &steps {
            facts.take(step);
            for connection in facts.conclude() {
                let references: BTreeSet<_> = connection.members.iter().filter_map(|member| facts.aliases[member].reference.as_ref()).map(|stated| &stated.value).collect();
                prop_assert!(references.len() <= 1);
            }
        }
    }
}
