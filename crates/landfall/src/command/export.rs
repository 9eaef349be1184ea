//! `landfall export`: everything that is known of a person, in a file.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use super::client::{Instance, segment};
use super::output;

/// The last line is short: it counts parts.
const TAIL_BYTES_MAX: usize = 4_096;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The internal user, as your own services name them
    user: String,
    /// The file to write; one that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    instance: Instance,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let mut file = create(&args.to)?;
    let path = format!("/v1/users/{}/export", segment(&args.user));
    let written = copy(&api, &path, &mut file).await;
    match written.and_then(|tail| whole(&tail)) {
        Ok(lines) => {
            file.flush()
                .and_then(|()| file.get_ref().sync_all())
                .with_context(|| format!("write {}", args.to.display()))?;
            output::note(&format!("{}: {lines}", args.to.display()));
            Ok(())
        }
        Err(error) => {
            // Half an export must not be taken for one.
            drop(file);
            std::fs::remove_file(&args.to).with_context(|| format!("remove {}", args.to.display()))?;
            Err(error)
        }
    }
}

/// Health data: nobody else may read it.
fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    Ok(BufWriter::new(file.with_context(|| format!("create {}", path.display()))?))
}

/// Answers the last bytes.
async fn copy(api: &super::client::Api, path: &str, file: &mut impl Write) -> anyhow::Result<Vec<u8>> {
    let mut tail: Vec<u8> = Vec::new();
    let mut chunks = api.download(path).await?;
    while let Some(chunk) = chunks.next().await? {
        file.write_all(&chunk).context("write the export")?;
        tail.extend_from_slice(&chunk);
        let surplus = tail.len().saturating_sub(TAIL_BYTES_MAX);
        tail.drain(..surplus);
    }
    Ok(tail)
}

/// What the last line counts; an error where it is not there.
fn whole(tail: &[u8]) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(tail);
    let last: Value = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    if last["part"] != "end" {
        bail!("the export was cut short: run it again");
    }
    let counts = last["lines"].as_object().into_iter().flatten();
    Ok(counts.map(|(part, count)| format!("{count} {part}s")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_without_its_last_line_was_cut_short() {
        let end = b"{\"part\":\"record\"}\n{\"part\":\"end\",\"lines\":{\"event\":2,\"record\":1}}\n";
        assert_eq!(whole(end).unwrap(), "2 events, 1 records");
        assert!(whole(&end[..30]).is_err() && whole(b"").is_err());
    }
}
