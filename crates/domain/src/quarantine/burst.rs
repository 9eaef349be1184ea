//! Many failures at once: our own mistake, or somebody else's attempt?

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::Part;
use crate::id::Environment;

/// What is looked back on.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// Failures within the window that are worth a word.
pub const BURST_MIN: u64 = 10;

/// Of the failures that look like Terra's, how many per cent have one reason where the fault is ours.
const ONE_REASON_PERCENT: u64 = 90;

/// Failures are counted by the time that they share, so that a flood takes no more memory than a few.
const BUCKET: SignedDuration = SignedDuration::from_secs(10);

/// How long after something genuine what fails is not judged: the next genuine one may be on its way.
const UNDECIDED: SignedDuration = SignedDuration::from_mins(1);

/// What a burst comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// All that Terra sends fails alike: the secret here is not the one there.
    WrongSecret,
    /// All that Terra sends is ahead of us, or late.
    Clock,
    /// Something between Terra and us changes bodies or headers.
    Proxy,
    /// Not Terra's, or of many forms; or well made, while what Terra signs passes.
    Attack,
}

impl Cause {
    pub const ALL: [Cause; 4] = [Cause::WrongSecret, Cause::Clock, Cause::Proxy, Cause::Attack];

    pub fn label(self) -> &'static str {
        match self {
            Cause::WrongSecret => "wrong_secret",
            Cause::Clock => "clock",
            Cause::Proxy => "proxy",
            Cause::Attack => "attack",
        }
    }

    fn of(part: Part) -> Cause {
        match part {
            Part::SecretOrBody | Part::OtherEnvironment => Cause::WrongSecret,
            Part::TimeFuture | Part::TimeStale => Cause::Clock,
            Part::BodyChanged | Part::HeaderMissing | Part::HeaderConflicting | Part::HeaderMalformed => Cause::Proxy,
        }
    }
}

/// One failure, as far as the verdict needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    pub part: Part,
    pub looks_like_terra: bool,
}

impl Failure {
    /// Whether it may come from the secret that is set here, or from something before us that drops headers: neither lets
    /// anything pass that Terra signed. What was signed with a secret of ours is Terra's, whatever passes beside it.
    fn is_disproved_by_what_passes(self) -> bool {
        match self.part {
            Part::SecretOrBody | Part::HeaderMissing | Part::HeaderConflicting | Part::HeaderMalformed => true,
            Part::TimeFuture | Part::TimeStale | Part::OtherEnvironment | Part::BodyChanged => false,
        }
    }
}

/// Failures, and whose secrets were asked where it was those of one environment.
type Counts = BTreeMap<(Failure, Option<Environment>), u64>;

/// The failures of the last minutes, and when something genuine last came.
#[derive(Debug, Default)]
pub struct Burst {
    failures: VecDeque<(Timestamp, Counts)>,
    genuine: BTreeMap<Environment, Timestamp>,
}

impl Burst {
    pub fn note(&mut self, failure: Failure, whose: Option<&Environment>, now: Timestamp) {
        self.forget(now);
        let is_current = self.failures.back().is_some_and(|(begun, _)| now.duration_since(*begun) < BUCKET);
        if !is_current {
            self.failures.push_back((now, BTreeMap::new()));
        }
        if let Some((_, counts)) = self.failures.back_mut() {
            *counts.entry((failure, whose.cloned())).or_default() += 1;
        }
    }

    pub fn note_genuine(&mut self, environment: &Environment, now: Timestamp) {
        match self.genuine.get_mut(environment) {
            Some(last) => *last = now,
            None => {
                self.genuine.insert(environment.clone(), now);
            }
        }
    }

    /// What is going on: nothing, one thing, or an attack beside a fault of ours.
    pub fn causes(&mut self, now: Timestamp) -> BTreeSet<Cause> {
        self.forget(now);
        let mut all = BTreeMap::new();
        for (begun, counts) in &self.failures {
            for ((failure, whose), count) in counts {
                let genuine = whose.as_ref().and_then(|whose| self.genuine.get(whose));
                let genuine = genuine.filter(|_| failure.looks_like_terra && failure.is_disproved_by_what_passes());
                // Later than it: before a secret is changed at Terra's everything passes, and nothing afterwards.
                let is_forged = genuine.is_some_and(|genuine| genuine.duration_since(*begun) > BUCKET);
                if !is_forged && genuine.is_some_and(|genuine| now.duration_since(*genuine) < UNDECIDED) {
                    continue;
                }
                let looks_like_terra = failure.looks_like_terra && !is_forged;
                *all.entry(Failure { looks_like_terra, ..*failure }).or_default() += count;
            }
        }
        causes(&all)
    }

    fn forget(&mut self, now: Timestamp) {
        while self.failures.front().is_some_and(|(begun, _)| now.duration_since(*begun) > WINDOW) {
            self.failures.pop_front();
        }
    }
}

/// Judges the counts of a window.
pub fn causes(counts: &BTreeMap<Failure, u64>) -> BTreeSet<Cause> {
    let mut causes = BTreeSet::new();
    let strange: u64 = counts.iter().filter(|(failure, _)| !failure.looks_like_terra).map(|(_, count)| count).sum();
    if strange >= BURST_MIN {
        causes.insert(Cause::Attack);
    }
    let mut alike: BTreeMap<Cause, u64> = BTreeMap::new();
    for (failure, count) in counts.iter().filter(|(failure, _)| failure.looks_like_terra) {
        *alike.entry(Cause::of(failure.part)).or_default() += count;
    }
    let terras: u64 = alike.values().sum();
    if terras >= BURST_MIN {
        let most = alike.into_iter().find(|(_, count)| count * 100 >= terras * ONE_REASON_PERCENT);
        causes.insert(most.map_or(Cause::Attack, |(cause, _)| cause));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERRAS: bool = true;
    const STRANGE: bool = false;

    #[track_caller]
    fn check(counts: &[(Part, bool, u64)], expected: &[Cause]) {
        let failure = |part, looks_like_terra| Failure { part, looks_like_terra };
        let counts = counts.iter().map(|(part, terras, count)| (failure(*part, *terras), *count)).collect();
        assert_eq!(causes(&counts), expected.iter().copied().collect());
    }

    #[test]
    fn a_few_failures_are_no_burst() {
        check(&[], &[]);
        check(&[(Part::SecretOrBody, TERRAS, 9), (Part::HeaderMissing, STRANGE, 9)], &[]);
    }

    #[test]
    fn one_reason_for_all_that_terra_sends_is_a_fault_of_ours() {
        check(&[(Part::SecretOrBody, TERRAS, 10)], &[Cause::WrongSecret]);
        check(&[(Part::OtherEnvironment, TERRAS, 50), (Part::HeaderMissing, TERRAS, 2)], &[Cause::WrongSecret]);
        check(&[(Part::TimeFuture, TERRAS, 10)], &[Cause::Clock]);
        check(&[(Part::BodyChanged, TERRAS, 10)], &[Cause::Proxy]);
        check(&[(Part::HeaderMissing, TERRAS, 10)], &[Cause::Proxy]);
    }

    #[test]
    fn what_is_not_terras_or_of_many_forms_is_an_attack() {
        check(&[(Part::SecretOrBody, STRANGE, 10)], &[Cause::Attack]);
        check(&[(Part::SecretOrBody, TERRAS, 10), (Part::HeaderMalformed, TERRAS, 10)], &[Cause::Attack]);
        let both = [(Part::SecretOrBody, TERRAS, 100), (Part::HeaderMissing, STRANGE, 1_000)];
        check(&both, &[Cause::WrongSecret, Cause::Attack]);
    }

    #[test]
    fn a_burst_is_over_when_the_window_has_passed() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let mut burst = Burst::default();
        for second in 0..60 {
            burst.note(Failure { part: Part::SecretOrBody, looks_like_terra: true }, None, at(second));
        }
        assert_eq!(burst.failures.len(), 6, "a flood takes no more memory");
        assert_eq!(burst.causes(at(60)), [Cause::WrongSecret].into());
        assert_eq!(burst.causes(at(345)), [Cause::WrongSecret].into(), "ten are left");
        assert!(burst.causes(at(400)).is_empty());
        assert!(burst.failures.is_empty());
    }

    #[track_caller]
    fn check_beside_genuine(part: Part, genuine: std::ops::Range<i64>, expected: &[Cause]) {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let (ours, other) = (Environment::new("ours"), Environment::new("other"));
        let mut burst = Burst::default();
        for second in 0..240 {
            burst.note_genuine(&other, at(second));
            if genuine.contains(&second) {
                burst.note_genuine(&ours, at(second));
            }
            if second >= 60 {
                burst.note(Failure { part, looks_like_terra: true }, Some(&ours), at(second));
            }
        }
        assert_eq!(burst.causes(at(240)), expected.iter().copied().collect(), "{part:?}, genuine at {genuine:?}");
    }

    #[test]
    fn what_fails_while_terra_passes_is_forged_however_well() {
        check_beside_genuine(Part::SecretOrBody, 0..240, &[Cause::Attack]);
        check_beside_genuine(Part::SecretOrBody, 0..60, &[Cause::WrongSecret]);
        check_beside_genuine(Part::SecretOrBody, 0..190, &[Cause::Attack]);
        check_beside_genuine(Part::SecretOrBody, 0..0, &[Cause::WrongSecret]);
        check_beside_genuine(Part::BodyChanged, 0..240, &[Cause::Proxy]);
        check_beside_genuine(Part::OtherEnvironment, 0..240, &[Cause::WrongSecret]);
    }
}
