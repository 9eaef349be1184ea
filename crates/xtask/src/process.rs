//! Programs, scripts, ports and signals: the small things that both services need.
//!
//! Signals go through the shell's own `kill`, because the standard library has no safe call for
//! them and a slim image may lack `/bin/kill`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The first of `folders`, then of `PATH`, that holds `program`.
pub(crate) fn folder_of(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    folders.iter().cloned().chain(on_path).find(|folder| folder.join(program).is_file())
}

/// Runs to the end; what it printed is shown only if it fails.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}\n{printed}{complaint}", output.status);
    }
    Ok(printed)
}

pub(crate) fn is_root() -> bool {
    run(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Different ports that nobody listens on. Another process may take one before we do; its user
/// then fails to start with a message that names the port.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        *port = listener.local_addr().context("read a port")?.port();
        held.push(listener);
    }
    Ok(ports)
}

pub(crate) fn write_script(path: &Path, body: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\nset -eu\n{body}"))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", path.display()))
}

/// `text` as one word of a shell script.
pub(crate) fn quoted(text: impl AsRef<Path>) -> String {
    let text = text.as_ref().display().to_string();
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub(crate) fn tail(path: &Path, lines_max: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(lines_max);
    lines.get(first..).unwrap_or_default().join("\n")
}

/// Ends a process group that we created: politely, and after `grace` by force.
pub(crate) fn end_group(id: u32, grace: Duration) {
    let deadline = Instant::now() + grace;
    signal("TERM", id);
    while signal("0", id) {
        if Instant::now() > deadline {
            signal("KILL", id);
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// True if somebody was there to get the signal.
fn signal(name: &str, group: u32) -> bool {
    Command::new("sh")
        .args(["-c", r#"kill -s "$1" -- "-$2""#, "kill", name])
        .arg(group.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn a_quoted_word_reaches_the_shell_unchanged() {
        let word = "it's $HOME; `x`";
        let printed = run(Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(word)))).unwrap();
        assert_eq!(printed, word);
    }

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn a_group_ends_with_its_grandchildren() {
        let mut child = Command::new("sh").args(["-c", "sleep 600 & wait"]).process_group(0).spawn().unwrap();
        let id = child.id();
        let reaper = std::thread::spawn(move || child.wait());
        end_group(id, Duration::from_secs(5));
        assert!(!reaper.join().unwrap().unwrap().success());
        assert!(!signal("0", id));
    }
}
