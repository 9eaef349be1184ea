//! A private RabbitMQ node on free ports of loopback, with a port mapper of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{self, quoted};
use crate::programs::Programs;

const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Below this much free space the broker stops taking messages. It is what we ask of production,
/// because a full disk can cost confirmed messages.
const DISK_FREE_LIMIT_GB: u64 = 4;
const WAL_MAX_BYTES: u32 = 64 << 20;

pub(crate) struct RabbitMq {
    port: u16,
    /// of its management plugin
    management_port: u16,
    node: String,
    /// `rabbitmqctl` for this node
    control: PathBuf,
    /// starts and kills this node
    server: PathBuf,
    port_mapper: Child,
}

/// Starts a node below `folder` and waits until it speaks AMQP.
///
/// The node is called through the scripts that the package's wrappers end in: the wrappers
/// themselves run only as root or as the system's broker user, and on that user's data.
pub(crate) fn start(programs: &Programs, folder: &Path) -> Result<RabbitMq> {
    fs::create_dir(folder).with_context(|| format!("create {}", folder.display()))?;
    check_disk_space(folder)?;
    let [port, management_port, distribution_port, mapper_port] = process::free_ports()?;
    let node = format!("landfall-{}@localhost", std::process::id());
    let ports = Ports { port, management_port, distribution_port, mapper_port };
    let variables = write_settings(folder, &node, &ports)?;
    let bare = format!("env -i PATH=\"$PATH\" {variables}");

    let control = folder.join("rabbitmqctl");
    let program = quoted(programs.rabbitmq.join("rabbitmqctl"));
    process::write_script(&control, &format!("exec {bare}{program} \"$@\"\n"))?;
    let server = folder.join("server");
    let program = quoted(programs.rabbitmq.join("rabbitmq-server"));
    process::write_script(&server, &server_script(folder, &format!("{bare}RUNNING_UNDER_SYSTEMD=true {program}")))?;

    // Started by us, not by the node, so that it is ours to end.
    let port_mapper = Command::new(programs.erlang.join("epmd"))
        .args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start epmd")?;
    let rabbitmq = RabbitMq { port, management_port, node, control, server, port_mapper };
    process::run(Command::new(&rabbitmq.server).arg("start")).context("start RabbitMQ")?;
    wait_until_it_answers(port, folder)?;
    Ok(rabbitmq)
}

impl RabbitMq {
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let Self { port, management_port, node, .. } = self;
        vec![
            ("LANDFALL_TEST_AMQP_URL", format!("amqp://guest:guest@127.0.0.1:{port}/%2f")),
            ("LANDFALL_TEST_MANAGEMENT_URL", format!("http://guest:guest@127.0.0.1:{management_port}")),
            ("LANDFALL_TEST_RABBITMQ_NODE", node.clone()),
            ("LANDFALL_TEST_RABBITMQCTL", self.control.display().to_string()),
            ("LANDFALL_TEST_RABBITMQ_SERVER", self.server.display().to_string()),
        ]
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // Its data is thrown away: a graceful stop would only take longer. A node that a test
        // left dead, or a port mapper that is gone, is what we want anyway.
        let _ = process::run(Command::new(&self.server).arg("kill"));
        let _ = self.port_mapper.kill();
        let _ = self.port_mapper.wait();
    }
}

struct Ports {
    port: u16,
    management_port: u16,
    distribution_port: u16,
    mapper_port: u16,
}

/// Writes the node's files and returns the variables that server and commands share, as words of
/// a shell script.
fn write_settings(folder: &Path, node: &str, ports: &Ports) -> Result<String> {
    let Ports { port, management_port, distribution_port, mapper_port } = ports;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        anyhow::Ok(quoted(path))
    };
    let settings = write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management_port}\n\
             loopback_users = none\n\
             disk_free_limit.absolute = {DISK_FREE_LIMIT_GB}GB\n\
             raft.wal_max_size_bytes = {WAL_MAX_BYTES}\n\
             cluster_partition_handling = pause_minority\n\
             net_ticktime = 15\n\
             log.console = false\n\
             log.file.level = info\n"
        ),
    )?;
    let plugins = write("enabled_plugins", "[rabbitmq_management].\n")?;
    let nothing_more = write("advanced.config", "[].\n")?;
    let no_overrides = write("rabbitmq-env.conf", "")?;
    // The cookie keeps other users of this machine out. Erlang reads it from the home directory
    // and refuses one that others may read.
    let cookie = folder.join(".erlang.cookie");
    fs::write(&cookie, drawn_secret()?)
        .and_then(|()| fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)))
        .context("write the Erlang cookie")?;

    let home = quoted(folder);
    let data = quoted(folder.join("mnesia"));
    let logs = quoted(folder.join("log"));
    Ok(format!(
        "HOME={home} LC_ALL=C.UTF-8 TZ=UTC \
         ERL_EPMD_PORT={mapper_port} ERL_EPMD_ADDRESS=127.0.0.1 \
         RABBITMQ_NODENAME={node} RABBITMQ_DIST_PORT={distribution_port} \
         RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {{127,0,0,1}}' \
         RABBITMQ_CTL_DIST_PORT_MIN=0 RABBITMQ_CTL_DIST_PORT_MAX=0 \
         RABBITMQ_CONF_ENV_FILE={no_overrides} RABBITMQ_CONFIG_FILE={settings} \
         RABBITMQ_ADVANCED_CONFIG_FILE={nothing_more} RABBITMQ_ENABLED_PLUGINS_FILE={plugins} \
         RABBITMQ_MNESIA_BASE={data} RABBITMQ_LOG_BASE={logs} "
    ))
}

fn drawn_secret() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("draw a secret")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `start` returns at once, and the node listens a few seconds later; `kill` is a crash. Tests use
/// both.
///
/// `RUNNING_UNDER_SYSTEMD` makes the package's script *become* the node instead of watching over
/// it, so the process id we keep is the node's own. `setsid` keeps the node out of the process
/// group of the test that restarts it.
fn server_script(folder: &Path, program: &str) -> String {
    let folder = quoted(folder);
    format!(
        r#"cd {folder}
case "${{1:-}}" in
start)
    if test -s pid; then
        echo "$0: already started; kill it first" >&2
        exit 1
    fi
    detach=$(command -v setsid || true)
    $detach {program} </dev/null >>console.log 2>&1 &
    echo $! >pid
    ;;
kill)
    test -s pid || exit 0
    read -r pid <pid
    rm pid
    kill -s KILL "$pid" 2>/dev/null || exit 0
    # A process that nobody has collected yet (state Z) holds nothing any more.
    tries=0
    while kill -s 0 "$pid" 2>/dev/null && ! grep -q ') Z ' "/proc/$pid/stat" 2>/dev/null; do
        tries=$((tries + 1))
        test "$tries" -lt 50 || break
        sleep 0.1
    done
    ;;
*)
    echo "usage: $0 start|kill" >&2
    exit 2
    ;;
esac
"#
    )
}

fn wait_until_it_answers(port: u16, folder: &Path) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !speaks_amqp(port) {
        if Instant::now() > deadline {
            bail!(
                "RabbitMQ did not answer within {} s; its console ends:\n{}",
                START_TIMEOUT.as_secs(),
                process::tail(&folder.join("console.log"), 20)
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A node that is up answers the protocol header with a method frame (type 1) on channel 0. Its
/// port opens as the last step of its start.
fn speaks_amqp(port: u16) -> bool {
    let patience = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || -> std::io::Result<[u8; 3]> {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut head = [0; 3];
        stream.read_exact(&mut head)?;
        Ok(head)
    };
    ask().is_ok_and(|head| head == [1, 0, 0])
}

/// A node below its limit would accept connections and hold every message back: the tests would
/// hang, so say it now.
fn check_disk_space(folder: &Path) -> Result<()> {
    if let Some(free_kib) = crate::folder::free_kilobytes(folder)
        && free_kib >> 20 <= DISK_FREE_LIMIT_GB
    {
        bail!(
            "{} has {} MiB free, and the broker stops taking messages below {DISK_FREE_LIMIT_GB} GB: \
             free some space, or set TMPDIR to a folder on another disk",
            folder.display(),
            free_kib >> 10
        );
    }
    Ok(())
}
