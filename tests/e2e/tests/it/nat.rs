//! Functions with addresses of their own. The whole platform runs in a network namespace that the test makes, with a
//! neighbour behind its default route; the host's network is not touched.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sonagi_e2e::{call, deploy};
use sonagi_testkit::{Platform, Project, Setup, until};

use crate::egress::{Neighbour, PATIENCE, decoy, is_inside, make_network, run};

/// Connects, fetches and resolves, with nothing but what every program has.
const FUNCTION: &str = "
import os, socket, threading, urllib.request
def connect(address, port):
    try:
        with socket.create_connection((address, port), 5):
            return 'connected'
    except OSError as error:
        return 'refused'
def fetch(url):
    try:
        return urllib.request.urlopen(url, timeout=10).read().decode()
    except OSError as error:
        return 'failed'
def resolve(name):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, 80)})
    except OSError as error:
        return 'failed'
def own(family, whom):
    probe = socket.socket(family, socket.SOCK_DGRAM)
    try:
        probe.connect((whom, 9))
        return probe.getsockname()[0]
    except OSError:
        return None
server = None
def handler(event, context):
    global server
    if event.get('listen') and server is None:
        server = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)
    return {
        'connect': {address: connect(address, port) for address, port in event.get('connect', [])},
        'fetch': {url: fetch(url) for url in event.get('fetch', [])},
        'resolve': {name: resolve(name) for name in event.get('resolve', [])},
        'own': [own(socket.AF_INET, '203.0.113.2'), own(socket.AF_INET6, '2001:db8:1::2')],
        'variables': sorted(name for name in os.environ if 'proxy' in name.lower()),
        'interfaces': sorted(name for _, name in socket.if_nameindex()),
    }
";
/// The switches of the uplink.
const SWITCHES: [&str; 2] = [
    "/proc/sys/net/ipv4/conf/up0/forwarding",
    "/proc/sys/net/ipv6/conf/up0/force_forwarding",
];

async fn make_world(folder: &std::path::Path) -> Neighbour {
    let neighbour = make_network(folder).await;
    run("ip link set up0 mtu 1400");
    run("ip route add default via 203.0.113.2");
    run("ip -6 route add default via 2001:db8:1::2");
    let servers = folder.join("resolv.conf");
    fs::write(&servers, "nameserver 203.0.113.2\n").unwrap();
    let real = fs::canonicalize("/etc/resolv.conf").unwrap();
    run(&format!("mount --bind {} {}", servers.display(), real.display()));
    neighbour
}

fn switched() -> [String; 2] {
    SWITCHES.map(|path| fs::read_to_string(path).unwrap().trim().to_owned())
}

fn tables() -> String {
    let listed = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

fn interfaces() -> usize {
    let text = fs::read_to_string("/proc/net/dev").unwrap();
    text.lines().filter(|line| line.trim_start().starts_with("sng")).count()
}

async fn ask(platform: &Platform, name: &str, event: &Value) -> Value {
    call(platform, name, event).await
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_with_addresses_reach_the_world_and_nobody_reaches_them() {
    if !is_inside("nat::functions_with_addresses_reach_the_world_and_nobody_reaches_them") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _neighbour = make_world(folder.path()).await;
    let decoys = ["169.254.169.254", "fd00:ec2::254"].map(decoy);
    let own = TcpListener::bind("[::]:0").unwrap();
    own.set_nonblocking(true).unwrap();
    let own_port = own.local_addr().unwrap().port();
    assert_eq!(switched(), ["0", "0"]);

    let platform = Setup::new().set("egress", "auto").start().await;
    assert_eq!(switched(), ["1", "1"]);
    for name in ["reach", "other"] {
        deploy(&platform, &Project::python(name, FUNCTION), &["--timeout", "60s"]).await;
    }
    let event = json!({
        "fetch": ["http://203.0.113.2/a", "http://page.test/b", "http://[2001:db8:1::2]/c"],
        "resolve": ["page.test", "rebound.test", "private.test", "metadata.test"],
        "listen": true,
    });
    let seen = ask(&platform, "reach", &event).await;
    assert_eq!(
        seen["fetch"],
        json!({
            "http://203.0.113.2/a": "page /a", "http://page.test/b": "page /b", "http://[2001:db8:1::2]/c": "page /c",
        })
    );
    assert_eq!(
        seen["resolve"],
        json!({
            "page.test": ["2001:db8:1::2", "203.0.113.2"], "rebound.test": "failed", "private.test": "failed",
            "metadata.test": "failed",
        })
    );
    assert_eq!(seen["variables"], json!([]));
    assert_eq!(seen["interfaces"], json!(["eth0", "lo"]));

    let theirs: Vec<IpAddr> = seen["own"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own.as_str().unwrap().parse().unwrap())
        .collect();
    let mut forbidden: Vec<(String, u16)> = vec![
        ("169.254.169.254".to_owned(), 80),
        ("fd00:ec2::254".to_owned(), 80),
        ("10.0.0.1".to_owned(), 80),
        ("203.0.113.1".to_owned(), own_port),
        ("2001:db8:1::1".to_owned(), own_port),
        ("127.0.0.1".to_owned(), platform.port()),
        ("::1".to_owned(), own_port),
    ];
    forbidden.extend(theirs.iter().map(|address| (address.to_string(), 8080)));
    forbidden.push((theirs[0].to_string(), 9001));
    for (address, port) in &forbidden {
        let seen = ask(&platform, "other", &json!({"connect": [[address, port]]})).await;
        assert_eq!(seen["connect"][address], json!("refused"), "{address} {port}: {seen}");
    }
    for (address, port) in theirs.iter().flat_map(|address| [(*address, 8080), (*address, 9001)]) {
        let connected = TcpStream::connect_timeout(&SocketAddr::new(address, port), Duration::from_secs(1));
        assert!(connected.is_err(), "{address} {port} was reached from the host");
    }
    for listener in decoys.iter().chain([&own]) {
        let came = listener.accept().map(|(_, from)| from).map_err(|error| error.kind());
        assert_eq!(came, Err(ErrorKind::WouldBlock), "somebody connected to {listener:?}");
    }
    check_doctor(&platform).await;

    check_the_end(platform).await;
}

async fn check_the_end(mut platform: Platform) {
    platform.stop().await;
    assert_eq!((switched(), tables()), (["0", "0"].map(str::to_owned), String::new()));
    until("every interface is gone", PATIENCE, async || {
        (interfaces() == 0).then_some(())
    })
    .await;
}

async fn check_doctor(platform: &Platform) {
    let report = platform.cli().json(&["doctor"]).await;
    let found = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        (check["state"].clone(), check["found"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        found("egress"),
        (
            json!("ok"),
            "nat: functions reach public addresses, IPv4 by up0, IPv6 by up0".to_owned()
        )
    );
    assert_eq!(found("mtu"), (json!("ok"), "1400, as of the uplink".to_owned()));
    assert_eq!(found("name servers"), (json!("ok"), "203.0.113.2".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_to_reach_nothing_has_no_way_out() {
    if !is_inside("nat::a_function_that_is_to_reach_nothing_has_no_way_out") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _neighbour = make_world(folder.path()).await;
    let platform = Setup::new().set("egress", "nat").start().await;
    deploy(&platform, &Project::python("reach", FUNCTION), &["--egress", "none"]).await;
    let event = json!({"connect": [["203.0.113.2", 80]], "resolve": ["page.test"]});
    let seen = ask(&platform, "reach", &event).await;
    assert_eq!(
        (
            &seen["connect"]["203.0.113.2"],
            &seen["resolve"]["page.test"],
            &seen["interfaces"]
        ),
        (&json!("refused"), &json!("failed"), &json!(["lo"]))
    );
    platform.cli().json(&["config", "reach", "--egress", "default"]).await;
    let seen = ask(&platform, "reach", &event).await;
    assert_eq!(seen["connect"]["203.0.113.2"], json!("connected"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sudden_death_leaves_nothing_of_the_network_after_the_next_start() {
    if !is_inside("nat::sudden_death_leaves_nothing_of_the_network_after_the_next_start") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _neighbour = make_world(folder.path()).await;
    // Of somebody else, and not to be touched.
    run("nft add table inet other");
    let before = tables();
    let mut platform = Setup::new().set("egress", "nat").start().await;
    deploy(&platform, &Project::python("reach", FUNCTION), &[]).await;
    ask(&platform, "reach", &json!({})).await;

    // Only the server dies: its spawner cleans up.
    platform.kill().await;
    until("the network is as it was", PATIENCE, async || {
        (switched() == ["0", "0"] && tables() == before && interfaces() == 0).then_some(())
    })
    .await;

    // Both die: the next start does.
    platform.start().await;
    let spawner = spawner_of(platform.id());
    run(&format!("kill -9 {} {spawner}", platform.id()));
    until("both are gone", PATIENCE, async || platform.has_ended().then_some(())).await;
    platform.forget_ended();
    assert_eq!(switched(), ["1", "1"]);
    platform.start().await;
    assert_eq!(tables().matches("table inet sonagi-").count(), 1);
    platform.stop().await;
    assert_eq!((switched(), tables()), (["0", "0"].map(str::to_owned), before));
}

/// The spawner among a platform's children.
fn spawner_of(platform: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{platform}/task/{platform}/children")).unwrap();
    let is_spawner =
        |id: &u32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "sonagi-spawner");
    children
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .find(is_spawner)
        .unwrap()
}
