//! The embedded engine under faults of its disk: full, damaged, and whether an answer ever comes before the disk has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::dice::Dice;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::strace::{Call, Strace};
use crate::harness::volume::Volume;
use crate::harness::{Engine, Options, SECRET, TestApp, bare_settings, eventually, now_seconds, rounds, terra_says};

const DATABASE: &str = "landfall.db";

fn run(summary_id: &str) -> Value {
    terra_says::activity(terra_says::user("terra-ann", Some("ann")), summary_id, 1.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_a_full_disk_is_answered_503_and_nothing_is_lost() {
    let Some(volume) = Volume::mount(64, "root", "F17: a full disk below the embedded engine") else { return };
    let options = Options::default().set("LANDFALL_DATA_DIR", volume.path().join("data").display().to_string());
    let app = TestApp::start_with(Engine::Embedded, options).await;
    let mut load = Load::start(&app);
    for _ in 0..3 {
        load.more(200, 50).await;
        volume.fill();
        load.more(503, 30).await;
        let asked = Instant::now();
        let large = terra_says::activity(terra_says::user("terra-ann", Some(&"x".repeat(90_000))), "large", 1.0);
        assert_eq!(app.send(&large, &[]).await, 503, "nor is there room for a large one");
        assert!(asked.elapsed() < Duration::from_secs(3));
        let ready = app.http.get(app.api("/readyz")).send().await.unwrap().status().as_u16();
        assert_eq!(ready, 503, "a receiver that can store nothing is not ready");
        volume.empty();
        eventually("accepts again by itself", || async { app.send(&run("again"), &[]).await == 200 }).await;
    }
    load.more(200, 50).await;
    load.stop().await;
    assert!(load.statuses().keys().all(|status| matches!(status, 200 | 503)), "{:?}", load.statuses());
    load.check(&app).await;
    app.end().await;
}

/// The deliveries that were answered 200, in order: the call that wrote each answer, and the id in it.
fn answers(calls: &[Call]) -> Vec<(&Call, String)> {
    let id = |call: &Call| {
        let (_, after) = call.arguments.split_once(r#"\"delivery\":\""#)?;
        after.get(..36).map(str::to_owned)
    };
    let is_answer = |call: &&Call| call.is_write() && call.arguments.contains("HTTP/1.1 200");
    calls.iter().filter(is_answer).filter_map(|call| Some((call, id(call)?))).collect()
}

/// True if the row was written to the log of the database, and that log was synced afterwards, all before the answer. The
/// id is made once the request has been read, so nothing of an earlier one can be meant.
fn row_is_synced(calls: &[Call], answer: &Call, id: &str) -> bool {
    let is_log = |call: &&Call| call.file.ends_with("landfall.db-wal");
    let rows = calls.iter().filter(is_log).filter(|call| call.is_write() && call.arguments.contains(id));
    let mut syncs = calls.iter().filter(is_log).filter(|call| call.is_sync() && call.is_before(answer));
    // The first time: what is written again later belongs to somebody else's commit.
    rows.min_by_key(|row| row.began).is_some_and(|row| syncs.any(|sync| row.is_before(sync)))
}

/// True if a file named after the delivery was synced, then got its name, and then its folder was synced, all before the
/// row that points to it was written.
fn object_is_synced(calls: &[Call], id: &str) -> bool {
    let is_row =
        |call: &&Call| call.file.ends_with("landfall.db-wal") && call.is_write() && call.arguments.contains(id);
    let Some(row) = calls.iter().filter(is_row).min_by_key(|row| row.began) else { return false };
    let is_folder = |call: &&Call| {
        call.is_sync()
            && call.is_before(row)
            && Path::new(&call.file).parent().is_some_and(|up| up.ends_with("payloads/deliveries"))
    };
    let Some(folder) = calls.iter().filter(is_folder).max_by_key(|sync| sync.began) else { return false };
    let is_named = |call: &&Call| call.is_rename() && call.is_before(folder) && call.arguments.contains(id);
    let Some(named) = calls.iter().find(is_named) else { return false };
    calls.iter().any(|call| call.is_sync() && call.is_before(named) && call.file.contains(id))
}

/// Of each 200 in the trace of all calls: the row was written to the log after its request was read, and that very log was
/// synced after this and before the answer. Of a body that is too large for its row, the file and its folder too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_every_200_comes_after_the_sync_of_what_it_promises() {
    const DELIVERIES: usize = 60;
    /// Every so many has a body that goes to the payload store.
    const LARGE_EVERY: usize = 6;
    let mut app = TestApp::start(Engine::Embedded).await;
    app.send(&run("warm"), &[]).await;
    let strace = Strace::attach(app.processes[0].pid()).await;
    let is_large = |number: usize| number % LARGE_EVERY == LARGE_EVERY - 1;
    for number in 0..DELIVERIES {
        let mut body = run(&format!("s{number}"));
        if is_large(number) {
            body["padding"] = "x".repeat(70_000).into();
        }
        assert_eq!(app.send(&body, &[]).await, 200);
    }
    let calls = strace.detach();
    let answers = answers(&calls);
    assert_eq!(answers.len(), DELIVERIES, "answers in the trace");
    for (number, (answer, id)) in answers.iter().enumerate() {
        assert!(row_is_synced(&calls, answer, id), "delivery {number}, {id}: answered before its row was synced");
        assert!(!is_large(number) || object_is_synced(&calls, id), "delivery {number}, {id}: its body was not synced");
    }
    // What this test would say of a process that syncs everything else.
    let without = |is_left_out: &dyn Fn(&Call) -> bool| -> Vec<Call> {
        calls.iter().filter(|call| !is_left_out(call)).cloned().collect()
    };
    let no_log = without(&|call| call.is_sync() && call.file.ends_with("-wal"));
    assert!(answers.iter().all(|(answer, id)| !row_is_synced(&no_log, answer, id)));
    let no_folder = without(&|call| call.is_sync() && !call.file.contains("landfall.db") && !call.file.contains('#'));
    let large = || answers.iter().enumerate().filter(|(number, _)| is_large(*number)).map(|(_, (_, id))| id);
    assert!(large().all(|id| !object_is_synced(&no_folder, id)));
    println!("{DELIVERIES} answers, each after the sync of its own row, {} of them of a file too", large().count());
    app.processes[0].kill();
    app.start_again().await;
    app.quiet().await;
    let activities = app.all("/v1/users/ann/activities").await;
    let kept: BTreeSet<&str> = activities.iter().map(|activity| activity["summary_id"].as_str().unwrap()).collect();
    assert_eq!(kept.len(), DELIVERIES + 1);
    app.end().await;
}

/// Waits until it either serves or has ended.
async fn serves(process: &mut Process) -> bool {
    let begun = Instant::now();
    while process.is_alive() && !process.log().contains("API, metrics and probes on") {
        assert!(begun.elapsed() < Duration::from_secs(30), "neither refused nor served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.is_alive()
}

/// The database, its log and the index of that: those that are there.
type Files = BTreeMap<String, Vec<u8>>;

fn files(dir: &Path) -> Files {
    let is_ours = |name: &String| name.starts_with("landfall.db");
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_ours);
    named.map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap())).collect()
}

/// What `serve` says of files that were changed by somebody else.
async fn serve_on(given: &Files) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for (name, bytes) in given {
        std::fs::write(data.join(name), bytes).unwrap();
    }
    let mut process = Process::spawn(&["serve"], &bare_settings(dir.path()));
    if serves(&mut process).await {
        process.kill();
        return (0, process.log());
    }
    let code = process.wait().await.unwrap_or(-1);
    let left = files(&data);
    assert!(left.keys().eq(given.keys()), "{:?} became {:?}", given.keys(), left.keys());
    for (name, bytes) in given {
        assert!(left[name] == *bytes, "{name} was written to, although damage was found");
    }
    (code, process.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_damaged_file_is_refused_with_what_to_do_and_never_rebuilt() {
    let flips = rounds(40, 1_000);
    let seed = now_seconds().unsigned_abs();
    let mut dice = Dice::new(seed);
    let app = TestApp::start(Engine::Embedded).await;
    for number in 0..40 {
        assert_eq!(app.send(&run(&format!("s{number}")), &[]).await, 200);
    }
    app.quiet().await;
    let file = std::path::PathBuf::from(&app.settings["LANDFALL_DATA_DIR"]).join("landfall.db");
    // Ends in order, so that all of it is in the one file.
    let mut app = app;
    app.end_process().await;
    let good = std::fs::read(&file).unwrap();
    app.start_again().await;
    for number in 40..60 {
        assert_eq!(app.send(&run(&format!("s{number}")), &[]).await, 200);
    }
    app.quiet().await;
    // Is killed, so that what is newest is in the log alone.
    app.processes[0].kill();
    let killed = files(file.parent().unwrap());
    app.start_again().await;
    app.end().await;
    let alone = |bytes: &[u8]| Files::from([(DATABASE.to_owned(), bytes.to_vec())]);
    assert_eq!(serve_on(&alone(&good)).await.0, 0, "the copy itself is good");
    assert_eq!(killed.len(), 3, "{:?}", killed.keys());
    assert_eq!(serve_on(&killed).await.0, 0, "what a killed process leaves is good");

    let refused = |(code, said): (i32, String)| {
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("is damaged") && said.contains("backup") && said.contains("landfall recover"), "{said}");
    };
    let mut header = good.clone();
    header[..64].fill(0xff);
    refused(serve_on(&alone(&header)).await);
    refused(serve_on(&alone(&good[..good.len() / 2])).await);

    let (mut seen, mut beside_log) = (0, 0);
    for _ in 0..flips {
        let mut flipped = good.clone();
        let page = usize::try_from(dice.up_to(good.len() as u64 / 4_096)).unwrap() * 4_096;
        // The head of a page: what the structure of the file hangs on.
        for offset in 0..8 {
            flipped[page + offset] ^= 0x5a;
        }
        let (code, said) = serve_on(&alone(&flipped)).await;
        if code != 0 {
            assert!(said.contains("is damaged"), "seed {seed}: {said}");
            seen += 1;
        }
        if dice.percent(50) {
            continue;
        }
        // Beside a log that has newer pages, most likely in the place of the damaged one.
        let mut flipped = killed.clone();
        flipped.get_mut(DATABASE).unwrap()[page..page + 8].fill(0x5a);
        let (code, said) = serve_on(&flipped).await;
        if code != 0 {
            assert!(said.contains("is damaged"), "seed {seed}: {said}");
            beside_log += 1;
        }
    }
    println!("seed {seed}: {seen} of {flips} damaged pages were noticed at the start, {beside_log} beside a log");
    assert!(seen * 10 >= flips * 7, "seed {seed}: only {seen} of {flips}");
    assert!(beside_log > 0, "seed {seed}: none beside a log");
}

/// What is served of these activities: `None` where it is refused, null where it is not in the list.
async fn served(app: &TestApp, names: &[String]) -> Vec<Option<Value>> {
    let get = async |path: String| {
        let answer = app.http.get(app.api(&path)).send().await.unwrap();
        if answer.status().is_success() { answer.json::<Value>().await.ok() } else { None }
    };
    let listed = get("/v1/users/ann/activities?limit=200".into()).await;
    let rows = listed.as_ref().and_then(|page| page["items"].as_array().cloned());
    let mut found = Vec::new();
    for name in names {
        let Some(rows) = &rows else {
            found.push(None);
            continue;
        };
        let row = rows.iter().find(|row| row["summary_id"] == **name);
        let Some(row) = row else {
            found.push(Some(Value::Null));
            continue;
        };
        let document = get(format!("/v1/records/{}/document", row["id"].as_str().unwrap_or("none"))).await;
        found.push(document.map(|document| json!({ "distance": row["distance_meters"], "document": document })));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_byte_that_turned_is_never_worked_or_served_as_data() {
    const KEPT: usize = 30;
    const WAITING: usize = 30;
    let flips = rounds(40, 1_000);
    let seed = now_seconds().unsigned_abs();
    let mut dice = Dice::new(seed);
    let mut app = TestApp::start(Engine::Embedded).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    let names: Vec<String> = (0..KEPT + WAITING).map(|number| format!("s{number:02}")).collect();
    for name in &names[..KEPT] {
        assert_eq!(app.send(&run(name), &[]).await, 200);
    }
    app.quiet().await;
    app.end_process().await;
    // The rest waits in the queue, so that a turned byte may hit either.
    app.processes[0] = Process::serve("receive,api", &app.settings, false).await;
    for name in &names[KEPT..] {
        eventually("it is accepted", || async { app.send(&run(name), &[]).await == 200 }).await;
    }
    app.end_process().await;
    let file = std::path::PathBuf::from(&app.settings["LANDFALL_DATA_DIR"]).join("landfall.db");
    let good = std::fs::read(&file).unwrap();
    app.start_again().await;
    let is_there = |one: &Option<Value>| one.as_ref().is_some_and(|one| one["document"].is_object());
    eventually("all are there when nothing is damaged", || async { served(&app, &names).await.iter().all(is_there) })
        .await;
    let right = served(&app, &names).await;
    app.end_process().await;

    let (mut refused, mut noticed, mut missing, mut harmless, mut wrong) = (0, 0, 0, 0, Vec::new());
    for _ in 0..flips {
        let mut turned = good.clone();
        let at = usize::try_from(dice.up_to(good.len() as u64)).unwrap();
        turned[at] ^= 1 << dice.up_to(8);
        std::fs::write(&file, &turned).unwrap();
        for rest in ["landfall.db-wal", "landfall.db-shm"] {
            // Left behind by a process that was killed.
            let _ = std::fs::remove_file(file.with_file_name(rest));
        }
        app.processes[0] = Process::spawn(&["serve"], &app.settings);
        if !serves(&mut app.processes[0]).await {
            refused += 1;
            continue;
        }
        // As long as it takes; what hit a job that cannot be worked any more stays in the queue, or is a dead letter.
        let begun = Instant::now();
        let mut found = served(&app, &names).await;
        while found != right && begun.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            found = served(&app, &names).await;
        }
        let differing: Vec<_> = right.iter().zip(&found).filter(|(right, found)| right != found).collect();
        if differing.is_empty() {
            harmless += 1;
        } else if differing.iter().all(|(_, found)| found.is_none()) {
            noticed += 1;
        } else if differing.iter().all(|(_, found)| found.as_ref().is_none_or(Value::is_null)) {
            // Not in the list: its job cannot be read, or a column or an index by which it is found has turned.
            missing += 1;
        } else {
            wrong.push(at);
        }
        app.processes[0].kill();
    }
    println!(
        "seed {seed}: of {flips} turned bits {refused} refused at the start, {noticed} when read, {missing} left a record \
         out of its list, {harmless} without effect, {} served as data (at {wrong:?})",
        wrong.len()
    );
    std::fs::write(&file, &good).unwrap();
    app.start_again().await;
    app.end().await;
    assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_byte_of_the_log_that_turned_costs_no_accepted_delivery_unnoticed() {
    const WAITING: usize = 30;
    let flips = rounds(40, 1_000);
    let seed = now_seconds().unsigned_abs();
    let mut dice = Dice::new(seed);
    let mut app = TestApp::start(Engine::Embedded).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.end_process().await;
    app.processes[0] = Process::serve("receive,api", &app.settings, false).await;
    let names: Vec<String> = (0..WAITING).map(|number| format!("s{number:02}")).collect();
    for name in &names {
        eventually("it is accepted", || async { app.send(&run(name), &[]).await == 200 }).await;
    }
    // Everything is in the log, and nothing copies it into the file.
    app.processes[0].kill();
    let dir = std::path::PathBuf::from(&app.settings["LANDFALL_DATA_DIR"]);
    let [file, log, index] = ["landfall.db", "landfall.db-wal", "landfall.db-shm"].map(|name| dir.join(name));
    let paths = [&file, &log, &index];
    let good = paths.map(|path| std::fs::read(path).unwrap());

    let is_there = |one: &Option<Value>| one.as_ref().is_some_and(|one| one["document"].is_object());
    let (mut refused, mut harmless) = (0, 0);
    for flip in 0..flips {
        let mut left = good.clone();
        let at = usize::try_from(dice.up_to(left[1].len() as u64)).unwrap();
        left[1][at] ^= 1 << dice.up_to(8);
        for (path, bytes) in paths.iter().zip(&left) {
            std::fs::write(path, bytes).unwrap();
        }
        // The index is lost with the power; without it the last commit cannot be told from a torn one.
        let mut sure = &names[..];
        if flip % 4 == 3 {
            std::fs::remove_file(&index).unwrap();
            left[2].clear();
            sure = &names[..WAITING - 1];
        }
        app.processes[0] = Process::spawn(&["serve"], &app.settings);
        if serves(&mut app.processes[0]).await {
            harmless += 1;
            let what = format!("seed {seed}: all accepted ones are there, byte {at} of the log turned");
            eventually(&what, || async { served(&app, sure).await.iter().all(is_there) }).await;
            app.processes[0].kill();
            continue;
        }
        refused += 1;
        assert_eq!(app.processes[0].wait().await, Some(1));
        let said = app.processes[0].log();
        assert!(
            said.contains("landfall.db-wal") && said.contains("backup") && said.contains("landfall recover"),
            "{said}"
        );
        for (path, bytes) in paths.iter().zip(&left) {
            assert!(std::fs::read(path).unwrap_or_default() == *bytes, "{} was changed", path.display());
        }
    }
    println!(
        "seed {seed}: of {flips} bits that turned in the log {refused} were refused at the start, {harmless} cost nothing"
    );
    assert!(refused * 10 >= flips * 9, "seed {seed}: only {refused} of {flips}");
    for (path, bytes) in paths.iter().zip(&good) {
        std::fs::write(path, bytes).unwrap();
    }
    app.start_again().await;
    // What was held at a kill comes from the ledger, so that an empty queue is not the end of it.
    eventually("all of it is there", || async { served(&app, &names).await.iter().all(is_there) }).await;
    app.end().await;
}

/// What is on the disk turns while the process runs, all but the first page: it takes nothing more, ends with what to do,
/// and what it had accepted is there once the file is again what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_is_met_while_running_ends_every_200_and_the_process_and_nothing_is_overwritten() {
    const PAGE_BYTES: usize = 4_096;
    let mut app = TestApp::start(Engine::Embedded).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    let mut accepted: Vec<String> = (0..20).map(|number| format!("before{number}")).collect();
    for name in &accepted {
        assert_eq!(app.send(&run(name), &[]).await, 200);
    }
    app.quiet().await;
    // Started anew, so that all of it is in the file and little of it in memory.
    app.end_process().await;
    app.start_again().await;
    let dir = Path::new(&app.settings["LANDFALL_DATA_DIR"]).to_owned();
    let good = std::fs::read(dir.join(DATABASE)).unwrap();
    let mut turned = good.clone();
    turned[PAGE_BYTES..].fill(0x5a);
    write_over(&dir.join(DATABASE), &turned);

    let begun = Instant::now();
    let mut refused = 0;
    while app.processes[0].is_alive() {
        assert!(begun.elapsed() < Duration::from_secs(30), "neither notices nor ends");
        let name = format!("after{}", accepted.len() + refused);
        let knows = app.processes[0].log().contains("the database is damaged");
        let ready = app.http.get(app.api("/readyz")).send().await.map(|answer| answer.status().as_u16());
        assert!(!knows || ready.is_err() || ready.is_ok_and(|status| status == 503), "ready with a damaged database");
        let body = run(&name).to_string();
        let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
        let request = app.http.post(app.webhook_url()).header("x-terra-signature", signature).body(body);
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200) => {
                assert!(!knows && refused == 0, "a 200 after the damage was noticed");
                accepted.push(name);
            }
            Ok(status) => {
                assert_eq!(status, 503);
                refused += 1;
            }
            // It is about to end.
            Err(_) => {}
        }
    }
    assert_eq!(app.processes[0].wait().await, Some(1));
    let said = app.processes[0].log();
    assert!(said.contains("turned out to be damaged") && said.contains("backup"), "{said}");
    assert!(std::fs::read(dir.join(DATABASE)).unwrap() == turned, "the damaged file was written to");

    // With what was accepted meanwhile in the log beside it, it is not taken for good by the next start either.
    let left = files(&dir);
    let (code, said) = serve_on(&left).await;
    assert!(code == 1 && said.contains("is damaged"), "{said}");
    write_over(&dir.join(DATABASE), &good);
    app.start_again().await;
    eventually("all that was accepted is there", || async {
        let activities = app.all("/v1/users/ann/activities").await;
        let kept: BTreeSet<&str> = activities.iter().filter_map(|activity| activity["summary_id"].as_str()).collect();
        accepted.iter().all(|name| kept.contains(name.as_str()))
    })
    .await;
    println!("noticed after {} more deliveries and {:?}, {refused} refused", accepted.len() - 20, begun.elapsed());
    app.end().await;
}

/// In place: the process has the file open.
fn write_over(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, 0).unwrap();
}
