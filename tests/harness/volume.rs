//! A file system in memory, so small that it can be filled; made and thrown away by the test.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const FILLER: &str = "filler";

pub struct Volume(TempDir);

impl Volume {
    /// `None` where this user may not mount, which is said, and that `wanted_for` is not tried. `owner` may write to it.
    pub fn mount(mebibytes: u32, owner: &str, wanted_for: &str) -> Option<Volume> {
        let dir = tempfile::tempdir().unwrap();
        let id = |what| Command::new("id").args([what, owner]).output().ok().map(|output| output.stdout);
        let number = |what| id(what).and_then(|bytes| Some(String::from_utf8(bytes).ok()?.trim().to_owned()));
        let (user, group) = (number("-u").unwrap_or_default(), number("-g").unwrap_or_default());
        let options = format!("size={mebibytes}m,mode=0700,uid={user},gid={group}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Volume(dir));
        }
        super::not_tried(&format!("{wanted_for} (mounting a small volume needs root)"));
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join(FILLER)).unwrap();
        let block = vec![0; 64 * 1_024];
        while file.write_all(&block).is_ok() {}
    }

    pub fn empty(&self) {
        // It may not have been filled.
        let _ = std::fs::remove_file(self.path().join(FILLER));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process that is being ended may still have files there.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
