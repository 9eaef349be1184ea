//! `landfall verify`: checks a signature offline and says which part of it is wrong.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use adapters::clock::Clock;
use anyhow::{Context, bail};
use jiff::Timestamp;
use terra::signature::{self, Age, Secret, SignatureHeader};

use super::output;
use crate::exit::ChecksFailed;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Value of the header X-Terra-Signature: t=…,v1=…
    #[arg(long)]
    header: String,
    /// The raw body: @FILE, @- for standard input, or the text itself
    #[arg(long)]
    body: String,
    /// Signing secret. Better in the environment: flags are visible to everybody on the machine. Several: comma separated
    #[arg(long, env = "LANDFALL_TERRA_SIGNING_SECRETS", hide_env_values = true)]
    secret: Option<String>,
    /// Seconds that the signed time may be from now, both ways
    #[arg(long, default_value_t = 300)]
    tolerance_s: u64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let body = body(&args.body).await?;
    let secrets = secrets(args.secret.as_deref())?;
    let tolerance = Duration::from_secs(args.tolerance_s);
    let findings = examine(&args.header, &body, &secrets, tolerance, Clock::system().now());
    for (good, text) in &findings {
        output::print_text(&format!("{} {text}", if *good { "✓" } else { "✗" }))?;
    }
    if findings.iter().all(|(good, _)| *good) {
        return Ok(());
    }
    Err(ChecksFailed("the signature is not valid".into()).into())
}

async fn body(text: &str) -> anyhow::Result<Vec<u8>> {
    match text.strip_prefix('@') {
        None => Ok(text.as_bytes().to_vec()),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).context("read the body from standard input")?;
            Ok(bytes)
        }
        Some(path) => tokio::fs::read(Path::new(path)).await.with_context(|| format!("read the body from {path}")),
    }
}

fn secrets(listed: Option<&str>) -> anyhow::Result<Vec<String>> {
    let listed = listed.unwrap_or_default();
    let secrets: Vec<String> =
        listed.split(',').map(str::trim).filter(|secret| !secret.is_empty()).map(str::to_owned).collect();
    if secrets.is_empty() {
        bail!("no secret to check with: set LANDFALL_TERRA_SIGNING_SECRETS, or use --secret");
    }
    Ok(secrets)
}

/// What is right and what is wrong, part by part.
fn examine(header: &str, body: &[u8], secrets: &[String], tolerance: Duration, now: Timestamp) -> Vec<(bool, String)> {
    let header = match SignatureHeader::parse(header.as_bytes()) {
        Ok(header) => header,
        Err(_) => {
            return vec![(
                false,
                "header: not of the form t=<unix seconds>,v1=<64 hex digits>; copy the whole value".into(),
            )];
        }
    };
    vec![(true, "header: well formed".into()), time(&header, tolerance, now), content(&header, body, secrets)]
}

fn time(header: &SignatureHeader, tolerance: Duration, now: Timestamp) -> (bool, String) {
    let t = header.t_seconds();
    let age = signature::age(t, now.as_millisecond(), tolerance);
    let in_seconds = t > 0 && t < 100_000_000_000;
    match age {
        Age::Fresh => (true, format!("time: {} s from now", (now.as_second() - t).abs())),
        Age::Stale { by } => (
            false,
            format!(
                "time: {} s old, {} s are allowed; the rest below is still checked",
                by.as_secs(),
                tolerance.as_secs()
            ),
        ),
        Age::Future if !in_seconds => (false, "time: t looks like milliseconds, Terra signs seconds".into()),
        Age::Future => {
            (false, format!("time: {} s ahead of this machine's clock; is the clock right?", t - now.as_second()))
        }
    }
}

fn content(header: &SignatureHeader, body: &[u8], secrets: &[String]) -> (bool, String) {
    // Vectors and experiments use short secrets; only a server must refuse them.
    let keyed: Vec<Secret> = secrets.iter().map(|secret| Secret::unchecked_for_vectors(secret.as_bytes())).collect();
    if let Ok(index) = signature::verify(header, body, &keyed) {
        return (
            true,
            format!("secret and body: secret {} of {} fits the {} bytes", index + 1, secrets.len(), body.len()),
        );
    }
    let fits = |before: &[u8]| signature::verify(header, before, &keyed).ok();
    if let Some((change, _)) = signature::find_change(body, fits) {
        let what = change.words();
        return (false, format!("body: changed since it was signed. It fits {what}; keep the raw bytes as they came"));
    }
    let digest = hex::encode(signature::body_digest(body));
    let text = format!(
        "secret or body: no secret of {} fits these {} bytes (SHA-256 {}…). Either the secret belongs to another environment or destination, or the body is not the raw one",
        secrets.len(),
        body.len(),
        &digest[..12]
    );
    (false, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "t=12345678,v1=599aa529690b885a43f184327c582375068d70705b7a471af15e10682c6f5313";
    const BODY: &[u8] = b"{'bar':'baz'}";

    #[track_caller]
    fn check(header: &str, body: &[u8], secret: &str, now: i64, expected: &[(bool, &str)]) {
        let now = Timestamp::from_second(now).unwrap();
        let found = examine(header, body, &[secret.to_owned()], Duration::from_secs(300), now);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((good, text), (expected_good, words)) in found.iter().zip(expected) {
            assert!(good == expected_good && text.contains(words), "{text}");
        }
    }

    #[test]
    fn each_part_is_judged_by_itself() {
        let good_header = (true, "well formed");
        check(HEADER, BODY, "foo", 12_345_700, &[good_header, (true, "22 s"), (true, "secret 1 of 1")]);
        check("v1=00", BODY, "foo", 12_345_700, &[(false, "copy the whole value")]);
        check(HEADER, BODY, "foo", 12_346_678, &[good_header, (false, "1000 s old"), (true, "fits")]);
        check(HEADER, BODY, "foo", 12_344_678, &[good_header, (false, "ahead"), (true, "fits")]);
        check(HEADER, BODY, "bar", 12_345_700, &[good_header, (true, "time"), (false, "secret or body")]);
    }

    #[test]
    fn a_body_that_an_editor_touched_is_recognised() {
        let parts = [(true, "header"), (true, "time"), (false, "without its blanks")];
        check(HEADER, b"{'bar':'baz'}\n", "foo", 12_345_700, &parts);
    }

    #[test]
    fn milliseconds_are_called_by_their_name() {
        let header = HEADER.replace("t=12345678", "t=1795332000000");
        check(
            &header,
            BODY,
            "foo",
            1_795_332_000,
            &[(true, "header"), (false, "milliseconds"), (false, "secret or body")],
        );
    }
}
