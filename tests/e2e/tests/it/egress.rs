//! What functions reach outside of their sandbox. The whole platform runs in a network namespace that the test makes, with
//! a neighbour in another one and decoys where metadata services would be; the host's network is not touched.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sonagi_e2e::{call, deploy};
use sonagi_testkit::{Platform, Project, Setup, until};

/// Longest wait for a change of state.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Set in the process that was started again in namespaces of its own.
const INSIDE: &str = "SONAGI_TEST_NETWORK";
/// Names that the platform's host knows.
const HOSTS: &str = "127.0.0.1 localhost\n203.0.113.2 page.test\n2001:db8:1::2 page6.test\n127.0.0.1 rebound.test\n\
                     203.0.113.2 mixed.test\n10.0.0.1 mixed.test\n";
/// Serves one page on port 80, by both protocols, and answers for a few names on port 53.
const NEIGHBOUR: &str = "
import http.server, ipaddress, socket, socketserver, threading
NAMES = {
    'page.test': ['203.0.113.2', '2001:db8:1::2'], 'rebound.test': ['127.0.0.1'], 'private.test': ['10.0.0.1'],
    'metadata.test': ['203.0.113.2', '169.254.169.254'],
}
def resolve():
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(('', 53))
    while True:
        asked, whom = names.recvfrom(512)
        labels, at = [], 12
        while asked[at]:
            labels.append(asked[at + 1:at + 1 + asked[at]].decode())
            at += 1 + asked[at]
        kind = asked[at + 2]
        found = [ipaddress.ip_address(text).packed for text in NAMES.get('.'.join(labels), [])]
        found = [octets for octets in found if (kind, len(octets)) in ((1, 4), (28, 16))]
        records = b''.join(b'\\xc0\\x0c' + bytes([0, kind, 0, 1, 0, 0, 0, 9, 0, len(octets)]) + octets for octets in found)
        head = asked[:2] + bytes([0x81, 0x80, 0, 1, 0, len(found), 0, 0, 0, 0])
        names.sendto(head + asked[12:at + 5] + records, whom)
threading.Thread(target=resolve, daemon=True).start()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('page ' + self.path).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        # Without looking for the host's own name.
        socketserver.TCPServer.server_bind(self)
Server(('::', 80), Page).serve_forever()
";
/// Fetches, and connects without a proxy.
const FUNCTION: &str = "
import http.client, os, socket, time, urllib.error, urllib.request
def fetch(url):
    try:
        return urllib.request.urlopen(url, timeout=20).read().decode()
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return 'failed'
def tunnel(address):
    connection = http.client.HTTPConnection('127.0.0.1', 62128, timeout=20)
    host, _, port = address.rpartition(':')
    connection.set_tunnel(host.strip('[]'), int(port))
    try:
        connection.request('GET', '/tunnel')
        return connection.getresponse().read().decode()
    except OSError as error:
        return str(error).split(':')[0]
def direct(address):
    try:
        socket.create_connection(address, 5)
        return 'connected'
    except OSError:
        return 'refused'
def handler(event, context):
    begun = time.monotonic()
    # A resolver that is not told that there is none waits for 5 s.
    try:
        socket.getaddrinfo('page.test', 80)
        resolved = True
    except OSError:
        resolved = False
    took = time.monotonic() - begun
    return {
        'fetched': {url: fetch(url) for url in event.get('fetch', [])},
        'tunnelled': {address: tunnel(address) for address in event.get('tunnel', [])},
        'direct': direct(('203.0.113.2', 80)),
        'variables': sorted(name for name in os.environ if 'proxy' in name.lower()),
        'resolved': resolved,
        'quick': took < 4,
    }
";

/// Whether this process is in namespaces of its own. If not, it was just started again in some, and has succeeded.
pub(crate) fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare can be started");
    assert!(status.success(), "{test} failed in namespaces of its own");
    false
}

pub(crate) fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.expect("it can be started").success(), "{command}");
}

/// A process in a network namespace of its own, connected to ours. It ends with this value.
pub(crate) struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it ends");
    }
}

pub(crate) async fn make_network(folder: &std::path::Path) -> Neighbour {
    let child = Command::new("unshare")
        .args(["--net", "python3", "-c", NEIGHBOUR])
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare can be started");
    let neighbour = Neighbour(child);
    let id = neighbour.0.id();
    let (theirs, ours) = (
        format!("/proc/{id}/ns/net"),
        fs::read_link("/proc/self/ns/net").unwrap(),
    );
    until("a namespace of its own", PATIENCE, async || {
        fs::read_link(&theirs).is_ok_and(|theirs| theirs != ours).then_some(())
    })
    .await;
    for command in [
        "ip link set lo up".to_owned(),
        format!("ip link add up0 type veth peer name up0 netns {id}"),
        "ip address add 203.0.113.1/24 dev up0".to_owned(),
        "ip address add 2001:db8:1::1/64 dev up0 nodad".to_owned(),
        "ip link set up0 up".to_owned(),
        "ip address add 169.254.169.254/32 dev lo".to_owned(),
        "ip address add fd00:ec2::254/128 dev lo nodad".to_owned(),
        format!("nsenter -t {id} -n ip address add 203.0.113.2/24 dev up0"),
        format!("nsenter -t {id} -n ip address add 2001:db8:1::2/64 dev up0 nodad"),
        format!("nsenter -t {id} -n ip link set up0 up"),
    ] {
        run(&command);
    }
    let hosts = folder.join("hosts");
    fs::write(&hosts, HOSTS).unwrap();
    run(&format!("mount --bind {} /etc/hosts", hosts.display()));
    neighbour
}

pub(crate) fn decoy(address: &str) -> TcpListener {
    let decoy = TcpListener::bind((address, 80)).unwrap();
    decoy.set_nonblocking(true).unwrap();
    decoy
}

async fn answer(platform: &Platform, event: &Value) -> Value {
    deploy(platform, &Project::python("reach", FUNCTION), &["--timeout", "60s"]).await;
    call(platform, "reach", event).await
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_reach_public_addresses_by_their_proxy_and_no_others() {
    if !is_inside("egress::functions_reach_public_addresses_by_their_proxy_and_no_others") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _neighbour = make_network(folder.path()).await;
    let decoys = ["169.254.169.254", "fd00:ec2::254"].map(decoy);
    let own = TcpListener::bind("203.0.113.1:0").unwrap();
    own.set_nonblocking(true).unwrap();
    let own_port = own.local_addr().unwrap().port();

    let platform = Setup::new().set("egress", "proxy").start().await;
    let denied = [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://rebound.test/".to_owned(),
        "http://mixed.test/".to_owned(),
        format!("http://203.0.113.1:{own_port}/"),
        "http://[::ffff:169.254.169.254]/".to_owned(),
    ];
    let allowed = [
        "http://203.0.113.2/a",
        "http://page.test/b?c",
        "http://[2001:db8:1::2]/d",
        "http://page6.test/e",
    ];
    let tunnels = ["203.0.113.2:80", "page.test:80", "[2001:db8:1::2]:80"];
    let forbidden = [
        "169.254.169.254:80".to_owned(),
        format!("127.0.0.1:{}", platform.port()),
        format!("localhost:{}", platform.port()),
        format!("203.0.113.1:{}", platform.port()),
    ];
    let urls: Vec<&str> = denied.iter().map(String::as_str).chain(allowed).collect();
    let addresses: Vec<&str> = forbidden.iter().map(String::as_str).chain(tunnels).collect();
    let seen = answer(&platform, &json!({"fetch": urls, "tunnel": addresses})).await;
    for url in &denied {
        assert_eq!(seen["fetched"][url], json!(403), "{url}: {seen}");
    }
    for url in allowed {
        let path = &url[url.rfind('/').unwrap()..];
        assert_eq!(seen["fetched"][url], json!(format!("page {path}")), "{url}: {seen}");
    }
    for address in &forbidden {
        assert_eq!(
            seen["tunnelled"][address],
            json!("Tunnel connection failed"),
            "{address}: {seen}"
        );
    }
    for address in tunnels {
        assert_eq!(seen["tunnelled"][address], json!("page /tunnel"), "{address}: {seen}");
    }
    assert_eq!(seen["direct"], json!("refused"));
    for listener in decoys.iter().chain([&own]) {
        let came = listener.accept().map(|(_, from)| from).map_err(|error| error.kind());
        assert_eq!(came, Err(ErrorKind::WouldBlock), "somebody connected to {listener:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_egress_nothing_is_reached_and_names_fail_at_once() {
    let platform = Setup::new().set("egress", "none").start().await;
    let seen = answer(&platform, &json!({})).await;
    let expected = json!({
        "fetched": {}, "tunnelled": {}, "direct": "refused", "variables": [], "resolved": false, "quick": true,
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_run_with_a_strict_proc() {
    let platform = Setup::new().set("proc", "strict").start().await;
    let source = "
import os
def handler(event, context):
    return [name for name in os.listdir('/proc') if not name.isdigit()], os.cpu_count() > 0
";
    deploy(&platform, &Project::python("strict", source), &[]).await;
    assert_eq!(
        call(&platform, "strict", &json!({})).await,
        json!([["self", "thread-self"], true])
    );
    let source = "import os from 'node:os';\nexport const handler = async () => os.cpus().length;\n";
    deploy(&platform, &Project::node("strict-node", source), &[]).await;
    assert_eq!(call(&platform, "strict-node", &json!({})).await, json!(0));
}
