//! A platform without an engine: the Lambda surface over fakes, on a loopback address.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sonagi_aws::{Aws, AwsDeps, AwsOptions, BusDeliveries, RuntimeCheck, TemporaryCredentials};
use sonagi_control::{Catalog, Retired};
use sonagi_model::{FunctionId, RevisionId};
use sonagi_objects::{ObjectStore, Options};
use sonagi_ports::fake::{FakeArtifactStore, FakeMessageStore, FakeMetadataStore};
use sonagi_ports::{Adapter, ContractError, MetadataStore, SystemClock, SystemEntropy};
use sonagi_queues::Queues;
use sonagi_triggers::{Broker, Clockwork};
use sonagi_wire::{Claim, Head, HttpLimits, Surface, accept_loop};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::StandIn;

/// A host that has every runtime but one.
#[derive(Debug)]
struct Host;

impl RuntimeCheck for Host {
    fn check(&self, runtime: &str) -> Result<(), ContractError> {
        if runtime != "nodejs26.x" {
            return Ok(());
        }
        Err(ContractError::RuntimeMissing {
            runtime: runtime.to_owned(),
            hint: "this host has others".to_owned(),
        })
    }
}

#[derive(Debug)]
struct Nobody;

impl Retired for Nobody {
    fn retired(&self, _: RevisionId) {}
    fn removed(&self, _: FunctionId) {}
    fn live(&self, _: Option<&sonagi_model::Revision>, _: Option<&sonagi_model::Revision>) {}
}

/// What survives a restart.
#[derive(Debug, Clone)]
pub struct Disk {
    pub metadata: Arc<FakeMetadataStore>,
    pub artifacts: Arc<FakeArtifactStore>,
    pub messages: Arc<FakeMessageStore>,
    pub objects: Arc<tempfile::TempDir>,
}

impl Disk {
    pub fn new() -> Self {
        Self {
            metadata: Arc::new(FakeMetadataStore::new()),
            artifacts: Arc::new(FakeArtifactStore::new()),
            messages: Arc::new(FakeMessageStore::new(10_000)),
            objects: Arc::new(tempfile::tempdir().expect("a folder")),
        }
    }
}

/// A running platform; it stops when dropped.
#[derive(Debug)]
pub struct World {
    pub aws: Arc<Aws>,
    pub engine: Arc<StandIn>,
    pub credentials: Arc<TemporaryCredentials>,
    pub disk: Disk,
    pub address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub async fn start() -> Self {
        Self::with(Disk::new(), |_| {}).await
    }

    pub async fn with(disk: Disk, set: impl FnOnce(&mut AwsOptions)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("the address of a bound listener");
        let mut options = AwsOptions {
            address,
            ..AwsOptions::default()
        };
        set(&mut options);
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
        let records = disk.metadata.load().await.expect("records");
        let catalog = Catalog::load(
            records.clone(),
            disk.metadata.clone(),
            disk.artifacts.clone(),
            clock.clone(),
            Arc::new(Nobody),
        );
        let catalog = Arc::new(catalog.expect("a catalog"));
        let engine = Arc::new(StandIn::new(disk.artifacts.clone()));
        let credentials = Arc::new(TemporaryCredentials::new(&*entropy));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let queues = Queues::open(disk.messages.clone(), clock.clone(), tasks.clone(), stop.clone());
        let queues = queues.await.expect("the queues");
        let objects = ObjectStore::open(disk.objects.path(), Options::default()).expect("a folder for objects");
        let deps = AwsDeps {
            catalog,
            runner: engine.clone(),
            queues,
            tasks: tasks.clone(),
            stop: stop.clone(),
            records: &records,
            store: disk.metadata.clone(),
            objects,
            credentials: credentials.clone(),
            broker: Arc::new(Broker::new()),
            clockwork: Arc::new(Clockwork::new(&records, disk.metadata.clone(), clock.clone())),
            buses: Arc::new(BusDeliveries::default()),
            contract: Arc::new(Host),
            clock,
            entropy,
            options,
        };
        let aws = Arc::new(Aws::new(deps).await.expect("the Lambda surface"));
        let front = Arc::clone(aws.front());
        let service = move |peer, _| {
            let front = Arc::clone(&front);
            service_fn(move |request: Request<Incoming>| {
                let front = Arc::clone(&front);
                async move {
                    assert_ne!(
                        front.claim(&Head::from(&request)),
                        Claim::None,
                        "not claimed: {}",
                        request.uri()
                    );
                    Ok(Surface::serve(&*front, request, peer).await)
                }
            })
        };
        let serving = accept_loop(listener, HttpLimits::default(), tasks.clone(), stop.clone(), service);
        tasks.spawn(serving);
        Self {
            aws,
            engine,
            credentials,
            disk,
            address,
            stop,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a client of this account needs; the first account if `None`.
    pub fn environment(&self, account: Option<&str>) -> Vec<(String, String)> {
        self.aws
            .client_environment(account, &self.endpoint())
            .expect("an account")
    }

    /// Sends one request as it is, on a connection of its own.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let (parts, body) = self.open(request).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Response::from_parts(parts, body)
    }

    /// Sends one request; the body of the answer is still to come.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("a handshake");
        let tasks = TaskTracker::new();
        tasks.spawn(connection);
        sender.send_request(request).await.expect("an answer")
    }
}

/// A request with a host.
pub fn request(method: &str, host: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(Bytes::copy_from_slice(body)))
        .expect("a request")
}

/// A zip archive with one stored file.
pub fn archive(name: &str, content: &str) -> Bytes {
    let (name, data) = (name.as_bytes(), content.as_bytes());
    let crc = crc32fast::hash(data);
    let size = u32::try_from(data.len()).expect("a small file").to_le_bytes();
    let name_length = u16::try_from(name.len()).expect("a short name").to_le_bytes();
    // Version, flags, method, time, date, checksum, both sizes, length of the name, length of extra fields.
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5c];
    common.extend(crc.to_le_bytes());
    common.extend([size, size].concat());
    common.extend(name_length);
    common.extend([0, 0]);
    let mut zip = [b"PK\x03\x04".as_slice(), &common, name, data].concat();
    let directory = u32::try_from(zip.len()).expect("a small archive").to_le_bytes();
    let mut entry = [b"PK\x01\x02\x14\x03".as_slice(), &common].concat();
    entry.extend([0; 2 + 2 + 2]);
    entry.extend((0o100_644_u32 << 16).to_le_bytes());
    entry.extend([0; 4]);
    entry.extend(name);
    let length = u32::try_from(entry.len()).expect("a short entry").to_le_bytes();
    zip.extend(entry);
    zip.extend(
        [
            b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(),
            &length,
            &directory,
            &[0, 0],
        ]
        .concat(),
    );
    Bytes::from(zip)
}
