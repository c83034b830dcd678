//! Which extensions an instance has, what each is doing, and what everybody waits for.
//!
//! One short lock. Whoever waits for a state looks again whenever something has changed.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use sonagi_model::FunctionError;
use tokio::sync::Notify;
use uuid::Uuid;

use super::EXTENSIONS_MAX;
use super::frames::End;

/// A request of an extension was refused: 403 with this type and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

impl Refused {
    pub(super) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}

/// Why an instance is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For instance `Extension.Crash`.
    pub(super) kind: String,
    pub(super) message: String,
}

impl Failure {
    /// As the function's error; with the id of the event during which it happened.
    pub(crate) fn error(&self, request: Option<&str>) -> FunctionError {
        let message = match request {
            Some(id) => format!("RequestId: {id} Error: {}", self.message),
            None => format!("Error: {}", self.message),
        };
        FunctionError {
            body: json!({ "errorType": self.kind, "errorMessage": message })
                .to_string()
                .into_bytes(),
            kind: Some(self.kind.clone()),
        }
    }
}

/// What an extension is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) id: Uuid,
    pub(super) body: Bytes,
}

/// Which events an extension wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wants {
    pub(super) invoke: bool,
    pub(super) shutdown: bool,
}

impl Wants {
    /// As the platform writes them in the log.
    pub(super) fn names(self) -> Vec<&'static str> {
        let all = [(self.invoke, "INVOKE"), (self.shutdown, "SHUTDOWN")];
        all.into_iter()
            .filter_map(|(wanted, name)| wanted.then_some(name))
            .collect()
    }
}

/// Names of states: the emulator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Started,
    Registered,
    Waiting,
    Working,
    Failed,
    Gone,
}

#[derive(Debug)]
struct Member {
    name: String,
    id: Uuid,
    /// Its number in the supervisor, if it is a program.
    number: Option<u8>,
    wants: Wants,
    doing: Doing,
    inbox: Option<Told>,
}

/// How far the instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Extensions may register.
    Init,
    Serving,
    /// They are told of the end.
    Ending,
    Over,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    members: Vec<Member>,
    failure: Option<Failure>,
    runtime: Runtime,
    /// Everybody has asked for a first event.
    initialized: bool,
    /// An event was given up: its deadline has passed, or nobody wants its answer.
    gave_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runtime {
    NotStarted,
    Running,
    Ended(End),
}

/// Whether it is the first that ends an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    First,
    UnderWay,
}

/// Why an instance ends, in the words of the event. Source: "Lambda Extensions API", Shutdown phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Spindown,
    Timeout,
    Failure,
}

impl Why {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    changed: Notify,
    /// There is one that hears of events, or of the end. Asked for every event.
    any: AtomicBool,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                stage: Stage::Init,
                members: Vec::new(),
                failure: None,
                runtime: Runtime::NotStarted,
                initialized: false,
                gave_up: false,
            }),
            changed: Notify::new(),
            any: AtomicBool::new(false),
        }
    }

    /// Whether there is any extension.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock());
        self.changed.notify_waiters();
        changed
    }

    /// Waits until there is an answer. Cancel safe.
    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            // Made before looking, so that no change between is missed.
            let changed = self.changed.notified();
            let found = look(&mut self.state.lock());
            match found {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }

    // === the steward's side

    /// Programs that are about to be started, by their numbers.
    pub(super) fn introduce(&self, names: &[String]) {
        self.any.store(true, Ordering::Relaxed);
        self.change(|state| {
            state.members = (0_u8..)
                .zip(names)
                .map(|(number, name)| Member {
                    name: name.clone(),
                    id: Uuid::new_v4(),
                    number: Some(number),
                    wants: Wants::default(),
                    doing: Doing::Started,
                    inbox: None,
                })
                .collect();
        });
    }

    pub(super) fn runtime_started(&self) {
        self.change(|state| state.runtime = Runtime::Running);
    }

    pub(super) fn runtime_ended(&self, end: End) {
        self.change(|state| state.runtime = Runtime::Ended(end));
    }

    /// A program could not be executed.
    pub(super) fn not_launched(&self, number: u8, errno: u8) {
        // EACCES
        let (kind, text) = match errno {
            13 => ("PermissionDenied", "permission denied".to_owned()),
            _ => {
                let text = std::io::Error::from_raw_os_error(i32::from(errno)).to_string();
                ("Extension.LaunchError", text)
            }
        };
        self.change(|state| {
            let name = state.lose(number).unwrap_or_default();
            state.fail(kind, format!("fork/exec /opt/extensions/{name}: {text}"));
        });
    }

    /// A program has ended. Before the end of the instance that is a failure.
    pub(super) fn ended(&self, number: u8, end: End) {
        self.change(|state| {
            if state.lose(number).is_some() && matches!(state.stage, Stage::Init | Stage::Serving) {
                state.fail("Extension.Crash", end.to_string());
            }
        });
    }

    /// Waits until every program has registered.
    pub(super) async fn registered(&self) {
        let started = |member: &Member| member.doing == Doing::Started;
        self.until(|state| (!state.members.iter().any(started)).then_some(()))
            .await;
    }

    /// Waits until an extension has failed.
    pub(crate) async fn failed(&self) -> Failure {
        self.until(|state| state.failure.clone()).await
    }

    /// Waits for the runtime's end.
    pub(super) async fn runtime_gone(&self) -> Option<End> {
        self.until(|state| match state.runtime {
            Runtime::NotStarted => Some(None),
            Runtime::Running => None,
            Runtime::Ended(end) => Some(Some(end)),
        })
        .await
    }

    /// The end of the instance begins.
    pub(super) fn begin_end(&self) -> Ending {
        self.change(|state| match state.stage {
            Stage::Init | Stage::Serving => {
                state.stage = Stage::Ending;
                Ending::First
            }
            Stage::Ending | Stage::Over => Ending::UnderWay,
        })
    }

    /// Tells those who want to know of the end; the numbers of the programs that do not.
    pub(super) fn shut_down(&self, why: Why, deadline_ms: i64) -> Vec<u8> {
        let body = json!({ "eventType": "SHUTDOWN", "shutdownReason": why.name(), "deadlineMs": deadline_ms });
        let body = Bytes::from(body.to_string());
        self.change(|state| {
            let mut silent = Vec::new();
            for member in &mut state.members {
                match member.number {
                    Some(_) if member.wants.shutdown => member.inbox = Some(told(&body)),
                    Some(number) => silent.push(number),
                    None => {}
                }
            }
            silent
        })
    }

    /// Waits until no program is left.
    pub(super) async fn all_gone(&self) {
        let there = |member: &Member| member.number.is_some() && member.doing != Doing::Gone;
        self.until(|state| (!state.members.iter().any(there)).then_some(()))
            .await;
    }

    /// Waits until the end is over.
    pub(super) async fn over(&self) {
        self.until(|state| (state.stage == Stage::Over).then_some(())).await;
    }

    /// Nothing more happens: whoever waits for an event is refused.
    pub(crate) fn close(&self) {
        self.change(|state| state.stage = Stage::Over);
    }

    /// Why the instance would end now.
    pub(super) fn why(&self) -> Why {
        let state = self.state.lock();
        match (&state.failure, state.gave_up, state.runtime) {
            (Some(_), ..) | (None, _, Runtime::Ended(_)) => Why::Failure,
            (None, true, _) => Why::Timeout,
            (None, false, _) => Why::Spindown,
        }
    }

    // === the session's side

    /// The runtime has asked for its first event: nobody registers any more. The extensions and what they want.
    pub(crate) fn close_registration(&self) -> Vec<(String, Vec<&'static str>)> {
        self.change(|state| {
            if state.stage == Stage::Init {
                state.stage = Stage::Serving;
            }
            let members = state.members.iter();
            members
                .map(|member| (member.name.clone(), member.wants.names()))
                .collect()
        })
    }

    /// Waits until every extension has asked for its first event.
    pub(crate) async fn ready(&self) {
        self.until(|state| {
            let ready = |member: &Member| member.doing == Doing::Waiting && member.inbox.is_none();
            if !state.members.iter().all(ready) {
                return None;
            }
            state.initialized = true;
            Some(())
        })
        .await;
    }

    /// Hands an event to those who want it.
    pub(crate) fn invoke(&self, body: &Bytes) {
        self.change(|state| {
            for member in state.members.iter_mut().filter(|member| member.wants.invoke) {
                member.inbox = Some(told(body));
            }
        });
    }

    /// Waits until everybody who wanted the event has asked for the next one.
    pub(crate) async fn settled(&self) -> Result<(), Failure> {
        self.until(|state| {
            if let Some(failure) = &state.failure {
                return Some(Err(failure.clone()));
            }
            let done =
                |member: &Member| !member.wants.invoke || (member.doing == Doing::Waiting && member.inbox.is_none());
            state.members.iter().all(done).then_some(Ok(()))
        })
        .await
    }

    /// Nobody waits for the answer to an event any more.
    pub(crate) fn give_up(&self) {
        self.change(|state| state.gave_up = true);
    }

    // === the extensions' side

    /// `register`.
    pub(super) fn register(&self, name: &str, wants: Wants) -> Result<Uuid, Refused> {
        self.change(|state| {
            if state.stage != Stage::Init {
                return Err(Refused::new(
                    "Extension.RegistrationClosed",
                    "Extension registration closed already",
                ));
            }
            if let Some(member) = state.members.iter_mut().find(|member| member.name == name) {
                if member.doing != Doing::Started {
                    return Err(transition(member, "Registered"));
                }
                (member.doing, member.wants) = (Doing::Registered, wants);
                return Ok(member.id);
            }
            if wants.shutdown {
                return Err(Refused::new(
                    "Extension.InvalidEventType",
                    "SHUTDOWN: event type not supported for internal extensions",
                ));
            }
            if state.members.len() >= EXTENSIONS_MAX {
                let text = format!("Extension limit ({EXTENSIONS_MAX}) reached");
                return Err(Refused::new("Extension.TooManyExtensions", text));
            }
            let id = Uuid::new_v4();
            state.members.push(Member {
                name: name.to_owned(),
                id,
                number: None,
                wants,
                doing: Doing::Registered,
                inbox: None,
            });
            self.any.store(true, Ordering::Relaxed);
            Ok(id)
        })
    }

    /// The name of an extension that has registered.
    pub(super) fn name(&self, id: Uuid) -> Result<String, Refused> {
        let mut state = self.state.lock();
        state.member(id).map(|member| member.name.clone())
    }

    /// Whether extensions may still subscribe to telemetry: until all have asked for a first event.
    pub(super) fn initializes(&self) -> bool {
        !self.state.lock().initialized
    }

    /// `event/next`: waits for an event. Dropped before, the event waits for whoever asks next.
    pub(super) async fn next(&self, id: Uuid) -> Result<Told, Refused> {
        self.change(|state| {
            let member = state.member(id)?;
            match member.doing {
                Doing::Registered | Doing::Waiting | Doing::Working => {
                    member.doing = Doing::Waiting;
                    Ok(())
                }
                Doing::Started | Doing::Failed | Doing::Gone => Err(transition(member, "Ready")),
            }
        })?;
        let told = self.until(|state| {
            if let Ok(member) = state.member(id)
                && let Some(told) = member.inbox.take()
            {
                member.doing = Doing::Working;
                return Some(Ok(told));
            }
            (state.stage == Stage::Over).then(|| Err(Refused::new("Extension.InvalidExtensionState", "The end")))
        });
        let told = told.await;
        self.changed.notify_waiters();
        told
    }

    /// `init/error` and `exit/error`: it cannot go on.
    pub(super) fn give_notice(&self, id: Uuid, kind: &'static str, said: &str) -> Result<(), Refused> {
        self.change(|state| {
            let member = state.member(id)?;
            if kind == "Extension.InitError" && member.doing != Doing::Registered {
                return Err(transition(member, "InitError"));
            }
            member.doing = Doing::Failed;
            if matches!(state.stage, Stage::Init | Stage::Serving) {
                state.fail(kind, said.to_owned());
            }
            Ok(())
        })
    }
}

impl State {
    fn member(&mut self, id: Uuid) -> Result<&mut Member, Refused> {
        let found = self
            .members
            .iter_mut()
            .find(|member| member.id == id && member.doing != Doing::Started);
        found.ok_or_else(|| {
            Refused::new(
                "Extension.UnknownExtensionIdentifier",
                format!("Unknown extension {id}"),
            )
        })
    }

    /// A program is gone; its name.
    fn lose(&mut self, number: u8) -> Option<String> {
        let member = self.members.iter_mut().find(|member| member.number == Some(number))?;
        member.doing = Doing::Gone;
        Some(member.name.clone())
    }

    /// The first failure stays.
    fn fail(&mut self, kind: &str, message: String) {
        self.failure.get_or_insert_with(|| Failure {
            kind: kind.to_owned(),
            message,
        });
    }
}

fn told(body: &Bytes) -> Told {
    Told {
        id: Uuid::new_v4(),
        body: body.clone(),
    }
}

fn transition(member: &Member, to: &str) -> Refused {
    let text = format!(
        "State transition from {:?} to {to} failed for extension {}. Error: State transition is not allowed",
        member.doing, member.name
    );
    Refused::new("Extension.InvalidExtensionState", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Wants = Wants {
        invoke: true,
        shutdown: true,
    };
    const INVOKE: Wants = Wants {
        invoke: true,
        shutdown: false,
    };

    fn kind<T: std::fmt::Debug>(refused: Result<T, Refused>) -> &'static str {
        refused.unwrap_err().kind
    }

    async fn waits<F: Future>(future: F) -> bool {
        tokio::time::timeout(std::time::Duration::from_secs(1), future)
            .await
            .is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_over_when_all_have_asked_again() {
        let registry = Registry::new();
        registry.introduce(&["out".to_owned()]);
        assert!(registry.any() && waits(registry.registered()).await);
        let out = registry.register("out", BOTH).unwrap();
        assert_eq!(kind(registry.register("out", BOTH)), "Extension.InvalidExtensionState");
        registry.registered().await;
        assert_eq!(kind(registry.register("in", BOTH)), "Extension.InvalidEventType");
        let within = registry.register("in", INVOKE).unwrap();
        assert_eq!(registry.close_registration().len(), 2);
        assert_eq!(kind(registry.register("late", INVOKE)), "Extension.RegistrationClosed");
        assert!(waits(registry.ready()).await);
        assert!(waits(registry.next(out)).await && waits(registry.next(within)).await);
        registry.ready().await;
        registry.invoke(&Bytes::from_static(b"{}"));
        assert!(waits(registry.settled()).await);
        assert_eq!(registry.next(out).await.unwrap().body, "{}");
        assert_eq!(registry.next(within).await.unwrap().body, "{}");
        assert!(waits(registry.next(within)).await && waits(registry.settled()).await);
        assert!(waits(registry.next(out)).await);
        registry.settled().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_before_the_end_is_a_failure() {
        let registry = Registry::new();
        registry.introduce(&["a".to_owned(), "b".to_owned()]);
        let [a, b] = ["a", "b"].map(|name| registry.register(name, BOTH).unwrap());
        registry.close_registration();
        assert_eq!(registry.why(), Why::Spindown);
        registry.ended(0, End::Exited(3));
        let failure = registry.settled().await.unwrap_err();
        assert_eq!(
            (failure.kind.as_str(), failure.message.as_str()),
            ("Extension.Crash", "exit status 3")
        );
        assert_eq!(
            (registry.why(), kind(registry.next(a).await)),
            (Why::Failure, "Extension.InvalidExtensionState")
        );
        assert_eq!(registry.begin_end(), Ending::First);
        assert_eq!(registry.shut_down(Why::Failure, 5), [0_u8; 0]);
        let told = registry.next(b).await.unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(
            told,
            serde_json::json!({ "eventType": "SHUTDOWN", "shutdownReason": "failure", "deadlineMs": 5 })
        );
        assert!(waits(registry.all_gone()).await);
        registry.ended(1, End::Exited(0));
        registry.all_gone().await;
        assert_eq!(
            kind(registry.next(Uuid::nil()).await),
            "Extension.UnknownExtensionIdentifier"
        );
    }

    #[test]
    fn errors_have_their_form() {
        let registry = Registry::new();
        registry.introduce(&["a".to_owned()]);
        let a = registry.register("a", INVOKE).unwrap();
        registry
            .give_notice(a, "Extension.InitError", "Extension.NoConfig")
            .unwrap();
        let failure = registry.state.lock().failure.clone().unwrap();
        let body = failure.error(Some("id")).body;
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "errorMessage": "RequestId: id Error: Extension.NoConfig",
                "errorType": "Extension.InitError"
            })
        );
    }
}
