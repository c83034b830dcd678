//! External extensions: started before the runtime, watched, told of the end, by the supervisor in the instance's cell.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use sonagi_ports::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::frames::{self, End, News, Order, RUNTIME};
use super::registry::{Ending, Registry, Why};
use super::telemetry::Telemetry;
use crate::runtime::server::Ending as Stop;

/// Time that extensions and the runtime have to end, all together.
/// Source: "Lambda Extensions API", Shutdown phase: 2,000 ms with external extensions.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// The runtime's share of it. Source: AWS's open runtime interface emulator (commit 4fa2157): 30 %.
const RUNTIME_SHARE: Duration = Duration::from_millis(600);
/// Time for what is left to tell subscribers, out of the same.
const FLUSH: Duration = Duration::from_millis(500);
/// Orders that wait for the supervisor.
const ORDERS: usize = 64;
/// Longest part of a line of an extension's output that is kept until its end comes.
const LINE: usize = 64 * 1024;
/// Longest wait for what a new connection says it is.
const GREETING: Duration = Duration::from_secs(5);

const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;

/// See the module.
#[derive(Debug)]
pub(crate) struct Steward {
    registry: Arc<Registry>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    orders: mpsc::Sender<Order>,
    stop: Stop,
    introduced: tokio::sync::watch::Sender<bool>,
    /// Connections into the instance that are wanted, by their tokens.
    bridges: Mutex<HashMap<u32, oneshot::Sender<TcpStream>>>,
    tokens: AtomicU32,
}

impl Steward {
    /// Serves the supervisor's listener, as tasks of `stop`.
    pub(crate) fn open(
        listener: TcpListener,
        registry: Arc<Registry>,
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
        stop: Stop,
    ) -> Arc<Self> {
        let (orders, ordered) = mpsc::channel(ORDERS);
        let steward = Arc::new(Self {
            registry,
            telemetry,
            clock,
            orders,
            stop,
            introduced: tokio::sync::watch::Sender::new(false),
            bridges: Mutex::default(),
            tokens: AtomicU32::new(1),
        });
        steward.spawn(Arc::clone(&steward).serve(listener, ordered));
        steward
    }

    /// Starts every extension, waits until all have registered, and starts the runtime.
    pub(crate) async fn start(&self) {
        // The supervisor is the first program of the cell; if it never speaks, the start fails in time.
        if self.introduced.subscribe().wait_for(|there| *there).await.is_err() {
            return std::future::pending().await;
        }
        self.registry.registered().await;
        self.registry.runtime_started();
        self.order(Order::Launch(RUNTIME)).await;
    }

    /// Runs a task until the session ends.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.stop
            .tasks
            .spawn(self.stop.stop.clone().run_until_cancelled_owned(task));
    }

    async fn order(&self, order: Order) {
        // A supervisor that is gone has ended the instance.
        let _ = self.orders.send(order).await;
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, ordered: mpsc::Receiver<Order>) {
        // Nothing else runs in the cell yet, so the first connection is the supervisor's.
        let Ok((supervisor, _)) = listener.accept().await else {
            return;
        };
        let _ = supervisor.set_nodelay(true);
        let talking = Arc::clone(&self).talk(supervisor, ordered);
        tokio::pin!(talking);
        loop {
            tokio::select! {
                () = &mut talking => return,
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        self.spawn(Arc::clone(&self).greet(stream));
                    }
                }
            }
        }
    }

    /// A connection into the instance says which one it is.
    async fn greet(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = [0; 5];
        let read = timeout(GREETING, stream.read_exact(&mut head)).await;
        if let (Ok(Ok(_)), [b'B', token @ ..]) = (read, head) {
            let wanted = self.bridges.lock().remove(&u32::from_le_bytes(token));
            if let Some(wanted) = wanted {
                let _ = wanted.send(stream);
            }
        }
    }

    /// A connection to a port of the instance's own loopback address; `None` if nobody listens there.
    pub(super) async fn connect(&self, port: u16) -> Option<TcpStream> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.bridges.lock().insert(token, sender);
        self.order(Order::Bridge(port, token)).await;
        // Without a limit: a frozen supervisor does it when it goes on.
        receiver.await.ok()
    }

    async fn talk(self: Arc<Self>, mut supervisor: TcpStream, mut ordered: mpsc::Receiver<Order>) {
        let (mut reading, mut writing) = supervisor.split();
        let mut buffer = BytesMut::with_capacity(8192);
        let mut lines: HashMap<u8, Vec<u8>> = HashMap::new();
        loop {
            tokio::select! {
                read = reading.read_buf(&mut buffer) => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                    loop {
                        match frames::take(&mut buffer) {
                            Ok(Some(news)) => self.hear(news, &mut lines),
                            Ok(None) => break,
                            Err(frames::Nonsense) => return,
                        }
                    }
                }
                order = ordered.recv() => {
                    let Some(order) = order else { return };
                    if writing.write_all(&order.to_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn hear(self: &Arc<Self>, news: News, lines: &mut HashMap<u8, Vec<u8>>) {
        match news {
            News::Hello(paths) => {
                let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
                let names: Vec<String> = paths.iter().map(name).collect();
                self.registry.introduce(&names);
                for number in 0..paths.len().min(frames::RUNTIME.into()) {
                    // There is room for as many as there can be.
                    let _ = self.orders.try_send(Order::Launch(number as u8));
                }
                self.introduced.send_replace(true);
            }
            News::Output(number, bytes) => self.print(lines.entry(number).or_default(), &bytes),
            News::NotLaunched(RUNTIME, errno) => {
                let error = std::io::Error::from_raw_os_error(i32::from(errno));
                self.telemetry.note(format!("the runtime cannot be executed: {error}"));
            }
            News::NotLaunched(number, errno) => self.registry.not_launched(number, errno),
            News::Ended(number, end) => {
                if let Some(rest) = lines.remove(&number).filter(|rest| !rest.is_empty()) {
                    self.write(&[String::from_utf8_lossy(&rest).into_owned()]);
                }
                self.ended(number, end);
            }
        }
    }

    fn ended(self: &Arc<Self>, number: u8, end: End) {
        let status = if number == RUNTIME {
            self.registry.runtime_ended(end);
            end
        } else {
            self.registry.ended(number, end);
            if self.registry.why() != Why::Failure {
                return;
            }
            End::Exited(1)
        };
        // The others are told, then the whole instance ends as the runtime did.
        let steward = Arc::clone(self);
        self.spawn(async move {
            if steward.wind_down(Why::Failure).await == Ending::First {
                steward.order(Order::End(status)).await;
            }
        });
    }

    /// Output of an extension: whole lines into the log, and to whoever subscribed to them.
    fn print(&self, partial: &mut Vec<u8>, bytes: &[u8]) {
        partial.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = partial.drain(..=end).collect();
            found.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        if partial.len() > LINE {
            found.push(String::from_utf8_lossy(&std::mem::take(partial)).into_owned());
        }
        self.write(&found);
    }

    fn write(&self, lines: &[String]) {
        if !lines.is_empty() {
            self.telemetry.extension_lines(lines, self.clock.now());
        }
    }

    /// Tells the instance that it is about to end, and waits until everything in it has, not longer than the limit.
    pub(crate) async fn farewell(&self) {
        self.wind_down(self.registry.why()).await;
    }

    async fn wind_down(&self, why: Why) -> Ending {
        let deadline = Instant::now() + SHUTDOWN;
        if self.registry.begin_end() == Ending::UnderWay {
            let _ = timeout_at(deadline, self.registry.over()).await;
            return Ending::UnderWay;
        }
        let at = self.clock.now().plus(SHUTDOWN).as_millis();
        let signal = match why {
            Why::Spindown => SIGTERM,
            Why::Timeout | Why::Failure => SIGKILL,
        };
        self.order(Order::Signal(RUNTIME, signal)).await;
        if timeout(RUNTIME_SHARE, self.registry.runtime_gone()).await.is_err() {
            self.order(Order::Signal(RUNTIME, SIGKILL)).await;
        }
        // What is left to tell goes out before the end is told, as far as somebody takes it.
        let _ = timeout(FLUSH, self.telemetry.flush()).await;
        for silent in self.registry.shut_down(why, at) {
            self.order(Order::Signal(silent, SIGKILL)).await;
        }
        let _ = timeout_at(deadline, self.registry.all_gone()).await;
        self.registry.close();
        Ending::First
    }
}
