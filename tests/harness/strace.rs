//! What a process asks of the kernel, call by call and in order, as strace sees it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually;

/// Longer than a page of the database, so that what is in it is seen whole.
const SHOWN_BYTES: &str = "8192";

const CALLS: &str = "trace=read,recvfrom,write,writev,sendto,sendmsg,pwrite64,pwritev,fdatasync,fsync,rename,renameat,renameat2,link,linkat";

pub struct Strace {
    child: Child,
    dir: TempDir,
}

/// One call. It happened between the two places in the trace.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    /// What its first argument is open on: a path, or `socket:[…]`; empty where that is no descriptor.
    pub file: String,
    pub arguments: String,
    pub result: Option<i64>,
    pub began: usize,
    pub ended: usize,
}

impl Strace {
    pub async fn attach(pid: u32) -> Strace {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("strace")
            .args(["-f", "-y", "-s", SHOWN_BYTES, "-e", CALLS, "-p", &pid.to_string(), "-o"])
            .arg(dir.path().join("trace"))
            .stderr(Stdio::null())
            .spawn()
            .expect("strace, which `cargo xtask test` installs");
        let strace = Strace { child, dir };
        eventually("strace is attached", || async {
            std::fs::read_to_string(strace.path()).is_ok_and(|text| !text.is_empty())
        })
        .await;
        strace
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    /// Lets go of the process.
    pub fn detach(mut self) -> Vec<Call> {
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap();
        read(&String::from_utf8_lossy(&std::fs::read(self.path()).unwrap()))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It has ended where it was detached.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each line is `<thread> <call>(<arguments>) = <result>`, or, where another thread came in between, first
/// `<thread> <call>(<arguments> <unfinished ...>` and later `<thread> <... <call> resumed><arguments>) = <result>`.
fn read(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut begun: HashMap<&str, (usize, String)> = HashMap::new();
    for (place, line) in text.lines().enumerate() {
        let Some((thread, said)) = line.split_once(' ') else { continue };
        let said = said.trim_start();
        if let Some(start) = said.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (place, start.to_owned()));
        } else if let Some(rest) = said.strip_prefix("<... ") {
            let Some((began, start)) = begun.remove(thread) else { continue };
            let end = rest.split_once(" resumed>").map_or("", |(_, end)| end);
            calls.extend(call(&format!("{start}{end}"), began, place));
        } else {
            calls.extend(call(said, place, place));
        }
    }
    calls
}

fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let first = arguments.split([',', ')']).next()?;
    let is_descriptor = first.starts_with(|letter: char| letter.is_ascii_digit());
    let file =
        first.split_once('<').filter(|_| is_descriptor).map_or("", |(_, file)| file.trim().trim_end_matches('>'));
    let result = result.split_whitespace().next()?.parse().ok();
    Some(Call { name: name.to_owned(), file: file.to_owned(), arguments: arguments.to_owned(), result, began, ended })
}

impl Call {
    pub fn is_write(&self) -> bool {
        matches!(self.name.as_str(), "write" | "writev" | "sendto" | "sendmsg" | "pwrite64" | "pwritev")
    }

    /// Of data that was written before; one that failed is none.
    pub fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.result == Some(0)
    }

    pub fn is_rename(&self) -> bool {
        (self.name.starts_with("rename") || self.name.starts_with("link")) && self.result == Some(0)
    }

    /// True only where one ended before the other began.
    pub fn is_before(&self, other: &Call) -> bool {
        self.ended < other.began || (self.ended == other.began && self.began < other.began)
    }
}
