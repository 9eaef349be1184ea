//! What the guarantee needs of settings, services and host: facts in, findings with their fix out.

use serde::Serialize;

pub mod account;
pub mod broker;
pub mod database;
pub mod host;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Good,
    /// Works, and may cost something one day.
    Warning,
    /// The guarantee does not hold, or nothing works.
    Bad,
    /// Nobody could be asked.
    NotChecked,
}

impl State {
    pub fn mark(self) -> char {
        match self {
            State::Good => '✓',
            State::Warning => '!',
            State::Bad => '✗',
            State::NotChecked => '–',
        }
    }
}

/// What a check is about, in the order in which findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    Configuration,
    Clock,
    Database,
    Broker,
    Payloads,
    Terra,
    Host,
}

impl Area {
    pub fn title(self) -> &'static str {
        match self {
            Area::Configuration => "Configuration",
            Area::Clock => "Clock",
            Area::Database => "Database",
            Area::Broker => "Broker",
            Area::Payloads => "Payloads",
            Area::Terra => "Terra",
            Area::Host => "Host",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub area: Area,
    /// For programs; never changes its meaning.
    pub check: &'static str,
    pub state: State,
    pub text: String,
    /// What to do; absent where there is nothing to do.
    pub fix: Option<String>,
}

impl Finding {
    pub fn good(area: Area, check: &'static str, text: impl Into<String>) -> Finding {
        Finding { area, check, state: State::Good, text: text.into(), fix: None }
    }

    pub fn warning(area: Area, check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { area, check, state: State::Warning, text: text.into(), fix: Some(fix.into()) }
    }

    pub fn bad(area: Area, check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { area, check, state: State::Bad, text: text.into(), fix: Some(fix.into()) }
    }

    pub fn not_checked(area: Area, check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        let text = format!("not checked: {}", text.into());
        Finding { area, check, state: State::NotChecked, text, fix: Some(fix.into()) }
    }
}

/// All findings as people read them, a group for each area.
pub fn lines(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.area);
    let mut lines = Vec::new();
    let mut current = None;
    for finding in sorted {
        if current != Some(finding.area) {
            lines.push(finding.area.title().to_owned());
            current = Some(finding.area);
        }
        lines.push(format!("  {} {}", finding.state.mark(), finding.text));
        lines.extend(finding.fix.as_ref().map(|fix| format!("      fix: {fix}")));
    }
    lines.push(String::new());
    lines.push(summary(findings));
    lines.join("\n")
}

pub fn summary(findings: &[Finding]) -> String {
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let mut parts = vec![plural(count(State::Bad), "problem"), plural(count(State::Warning), "warning")];
    if count(State::NotChecked) > 0 {
        parts.push(format!("{} not checked", count(State::NotChecked)));
    }
    parts.join(", ")
}

pub fn has_problems(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.state == State::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_grouped_and_each_has_its_fix() {
        let findings = [
            Finding::bad(Area::Host, "data_dir", "on tmpfs", "mount a volume"),
            Finding::good(Area::Clock, "clock", "0.1 s from Terra"),
            Finding::not_checked(Area::Host, "files", "no limit is told", "see ulimit"),
        ];
        let expected = "Clock\n  ✓ 0.1 s from Terra\nHost\n  ✗ on tmpfs\n      fix: mount a volume\n  – not checked: no limit is told\n      fix: see ulimit\n\n1 problem, 0 warnings, 1 not checked";
        assert_eq!(lines(&findings), expected);
        assert!(has_problems(&findings) && !has_problems(&findings[1..]));
    }
}
