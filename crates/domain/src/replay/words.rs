//! A replay in sentences: what matches and what working it again would do, how it is going, how it ended.

use std::collections::BTreeMap;

use super::{Items, Progress, Replay, State};

/// What is chosen, before anything is done.
pub fn preview(progress: &Progress) -> String {
    if progress.deliveries == 0 {
        return "Nothing matches.".into();
    }
    let span = match (progress.first_at, progress.last_at) {
        (Some(first), Some(last)) => format!(", received from {first} to {last}"),
        (Some(_) | None, _) => String::new(),
    };
    let predicted = progress.predicted;
    let mut would = vec![format!("{} would change something", predicted.change)];
    would.push(format!("{} nothing", predicted.nothing));
    would.extend((predicted.kept > 0).then(|| format!("{} would be kept without effects", predicted.kept)));
    would.extend((predicted.fail > 0).then(|| format!("{} would fail again", predicted.fail)));
    let unknown = || format!("{} unknown, because they ended their process before", predicted.unknown);
    would.extend((predicted.unknown > 0).then(unknown));
    format!(
        "{} of {}{span} ({}{}): {}.",
        counted(progress.deliveries, "delivery", "deliveries"),
        counted(progress.users, "Terra user", "Terra users"),
        listed(&progress.by_type),
        if progress.by_class.is_empty() { String::new() } else { format!("; {}", listed(&progress.by_class)) },
        would.join(", ")
    )
}

/// How it is going, or how it ended.
pub fn sentence(replay: &Replay) -> String {
    let progress = &replay.progress;
    let reason = || replay.reason.as_deref().unwrap_or("no reason given");
    match replay.state {
        State::Counting => format!("Counting what matches: {} so far.", progress.deliveries),
        State::Previewed => preview(progress),
        State::Running if !progress.proven => "Replaying one delivery, to see how it goes.".into(),
        State::Running => format!(
            "{} of {} replayed: {}; at most {} a second.",
            progress.items.worked(),
            progress.deliveries,
            done(&progress.items),
            replay.rate
        ),
        State::Done if progress.deliveries == 0 => "Nothing matches, and nothing was done.".into(),
        State::Done => {
            format!("Done: {} of {} replayed: {}.", progress.items.worked(), progress.deliveries, done(&progress.items))
        }
        State::Cancelled => format!(
            "Cancelled with {} of {} left: {}.",
            progress.items.pending,
            progress.deliveries,
            done(&progress.items)
        ),
        State::Failed => format!(
            "Stopped: the first {} failed again ({}); {} of {} were not touched.",
            if progress.items.failed == 1 { "one".to_owned() } else { progress.items.failed.to_string() },
            reason(),
            progress.items.pending,
            progress.deliveries
        ),
    }
}

fn done(items: &Items) -> String {
    let mut parts = vec![format!("{} changed something", items.changed), format!("{} nothing", items.unchanged)];
    parts.extend((items.kept > 0).then(|| format!("{} were kept without effects", items.kept)));
    parts.extend((items.failed > 0).then(|| format!("{} failed", items.failed)));
    parts.extend((items.gone > 0).then(|| format!("{} were past their retention", items.gone)));
    parts.extend((items.discarded > 0).then(|| format!("{} were discarded meanwhile", items.discarded)));
    parts.join(", ")
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
