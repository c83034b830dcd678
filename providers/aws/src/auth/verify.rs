//! From a request to its caller. First what the head alone says (form, key, time), then, once the body is read, the
//! signature: nobody makes the platform read a large body without a known key.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use sha2::{Digest as _, Sha256};
use sonagi_model::{InstanceId, Timestamp};
use sonagi_ports::Clock;
use subtle::ConstantTimeEq;

use super::accounts::Accounts;
use super::clock_text::compact;
use super::sessions::{Session, Sessions};
use super::sigv4::{Form, PathEncoding, Presented};
use crate::credentials::TemporaryCredentials;
use crate::errors::{Code, LambdaError};
use crate::place::{AccountId, Place, Region};

/// How far a signature's time may be from ours.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Payload hash of a request whose body is not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Whether signatures are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Always.
    Required,
    /// Never; whoever asks acts for the default account. For development on a loopback address only.
    Off,
}

/// What kind of key the caller has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The account's own key: may do everything in the account.
    Root,
    /// The temporary key of an instance; the ARN of its function.
    Function(String),
    /// The temporary key of an assumed role: may do what the account may do.
    Session(Session),
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account, and the region that the request is for.
    pub place: Place,
    /// The kind of key.
    pub principal: Principal,
    /// The key's id.
    pub access_key: String,
}

impl Caller {
    /// The caller's own ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        let account = &self.place.account;
        match &self.principal {
            Principal::Root => account.root_arn(),
            Principal::Function(function) => {
                let name = function.rsplit(':').next().unwrap_or_default();
                format!("arn:aws:sts::{account}:assumed-role/{name}/{name}")
            }
            Principal::Session(session) => session.arn(account),
        }
    }
}

/// Through which door a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The platform's one address.
    Front,
    /// The listener inside an instance, where only that instance's own key opens.
    Instance(InstanceId),
}

/// Checks signatures.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) temporary: Arc<TemporaryCredentials>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mode: AuthMode,
    /// Whose key an unsigned request has with [`AuthMode::Off`].
    pub(crate) default: Place,
}

/// A request whose head is in order.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The service it was signed for.
    pub(crate) service: String,
    caller: Caller,
    check: Option<(Presented, String)>,
}

impl Verifier {
    /// Who an account's own key stands for, in the default region.
    pub(crate) fn holder(&self, access_key: &str) -> Option<Caller> {
        let account = self.accounts.by_key(access_key)?;
        Some(Caller {
            place: Place {
                account: account.id.clone(),
                region: self.default.region.clone(),
            },
            principal: Principal::Root,
            access_key: access_key.to_owned(),
        })
    }

    /// Checks the head of a request.
    ///
    /// # Errors
    /// One of the 403 errors of signatures.
    pub(crate) fn begin(&self, parts: &Parts, door: Door) -> Result<Pending, LambdaError> {
        let strict = self.mode == AuthMode::Required || door != Door::Front;
        let presented = match Presented::read(parts) {
            Ok(Some(presented)) => presented,
            Ok(None) if strict => {
                return Err(LambdaError::new(
                    Code::MissingAuthenticationToken,
                    "Missing Authentication Token",
                ));
            }
            Err(error) if strict => return Err(error),
            Ok(None) | Err(_) => {
                let service = "lambda".to_owned();
                return Ok(Pending {
                    service,
                    caller: self.anybody(None),
                    check: None,
                });
            }
        };
        if !strict {
            let caller = self.anybody(Some(&presented));
            return Ok(Pending {
                service: presented.service,
                caller,
                check: None,
            });
        }
        let (account, principal, secret) = self.look_up(&presented, door)?;
        let region = Region::parse(&presented.region)
            .map_err(|error| LambdaError::new(Code::InvalidSignature, format!("Credential scope: {error}.")))?;
        self.check_time(&presented)?;
        let place = Place { account, region };
        let caller = Caller {
            place,
            principal,
            access_key: presented.access_key.clone(),
        };
        Ok(Pending {
            service: presented.service.clone(),
            caller,
            check: Some((presented, secret)),
        })
    }

    /// Without checks: the default account, in the region that the request names.
    fn anybody(&self, presented: Option<&Presented>) -> Caller {
        let region = presented.and_then(|presented| Region::parse(&presented.region).ok());
        let account = presented.and_then(|presented| self.accounts.by_key(&presented.access_key));
        let place = Place {
            account: account.map_or_else(|| self.default.account.clone(), |account| account.id.clone()),
            region: region.unwrap_or_else(|| self.default.region.clone()),
        };
        let access_key = presented
            .map(|presented| presented.access_key.clone())
            .unwrap_or_default();
        Caller {
            place,
            principal: Principal::Root,
            access_key,
        }
    }

    fn look_up(&self, presented: &Presented, door: Door) -> Result<(AccountId, Principal, String), LambdaError> {
        let unknown = || {
            LambdaError::new(
                Code::UnrecognizedClient,
                "The security token included in the request is invalid.",
            )
        };
        if door == Door::Front
            && let Some(account) = self.accounts.by_key(&presented.access_key)
        {
            return match presented.token {
                None => Ok((account.id.clone(), Principal::Root, account.secret.clone())),
                Some(_) => Err(unknown()),
            };
        }
        let token = presented.token.as_deref().unwrap_or_default();
        let Some(found) = self.temporary.lookup(&presented.access_key) else {
            let session = self
                .sessions
                .secret(&presented.access_key)
                .filter(|_| door == Door::Front);
            let (account, secret) = session.ok_or_else(unknown)?;
            let session = Sessions::open(&account, &presented.access_key, token).ok_or_else(unknown)?;
            if session.is_over(self.clock.now()) {
                return Err(LambdaError::new(
                    Code::ExpiredToken,
                    "The security token included in the request is expired",
                ));
            }
            return Ok((account.id.clone(), Principal::Session(session), secret));
        };
        if let Door::Instance(instance) = door
            && found.instance != instance
        {
            return Err(unknown());
        }
        if !bool::from(token.as_bytes().ct_eq(found.token.as_bytes())) {
            return Err(unknown());
        }
        let account = Place::of(&found.namespace).ok_or_else(unknown)?.account;
        Ok((
            account,
            Principal::Function(found.function_arn.clone()),
            found.secret.clone(),
        ))
    }

    fn check_time(&self, presented: &Presented) -> Result<(), LambdaError> {
        let refuse = |text: String| Err(LambdaError::new(Code::InvalidSignature, text));
        let (now, time) = (self.clock.now(), presented.time);
        if !presented.time_text.starts_with(&presented.date) || presented.date.len() != 8 {
            return refuse(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.".to_owned(),
            );
        }
        if time.since(now) > SKEW {
            return refuse(format!(
                "Signature not yet current: {} is still later than {}",
                compact(time),
                later(now, SKEW)
            ));
        }
        let life = match presented.form {
            Form::Header => SKEW,
            Form::Query(secs) => Duration::from_secs(secs.unsigned_abs()),
        };
        if now.since(time) > life {
            return refuse(format!(
                "Signature expired: {} is now earlier than {}",
                compact(time),
                earlier(now, life)
            ));
        }
        Ok(())
    }
}

fn later(now: Timestamp, by: Duration) -> String {
    format!(
        "{} ({} + {} min.)",
        compact(now.plus(by)),
        compact(now),
        by.as_secs() / 60
    )
}

fn earlier(now: Timestamp, by: Duration) -> String {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    let then = Timestamp::from_micros(now.as_micros().saturating_sub(micros));
    format!("{} ({} - {} min.)", compact(then), compact(now), by.as_secs() / 60)
}

impl Pending {
    /// Who calls, if the signature is right; for who checks that himself.
    pub(crate) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Checks the signature, now that the body is here.
    ///
    /// # Errors
    /// `InvalidSignatureException`.
    pub(crate) fn finish(self, parts: &Parts, body: &[u8]) -> Result<Caller, LambdaError> {
        let Some((presented, secret)) = self.check else {
            return Ok(self.caller);
        };
        let declared = parts
            .headers
            .get("x-amz-content-sha256")
            .and_then(|value| value.to_str().ok());
        let payload = match declared {
            Some(UNSIGNED) => UNSIGNED.to_owned(),
            declared => {
                let actual = hex::encode(Sha256::digest(body));
                if declared.is_some_and(|declared| !declared.eq_ignore_ascii_case(&actual)) {
                    return Err(LambdaError::new(
                        Code::InvalidSignature,
                        "The provided 'x-amz-content-sha256' header does not match what was computed.",
                    ));
                }
                declared.map_or(actual, str::to_owned)
            }
        };
        let encoding = if presented.service == "s3" {
            PathEncoding::Once
        } else {
            PathEncoding::Twice
        };
        let expected = presented.expected(parts, &secret, &payload, encoding);
        if !bool::from(expected.ct_eq(&presented.signature)) {
            return Err(LambdaError::new(
                Code::InvalidSignature,
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ));
        }
        Ok(self.caller)
    }
}

#[cfg(test)]
mod tests {
    use sonagi_model::{InstanceId, Namespace};
    use sonagi_ports::fake::{FakeMetadataStore, ManualClock, SeededEntropy};

    use super::*;

    struct World {
        verifier: Verifier,
        clock: Arc<ManualClock>,
        key: (String, String),
    }

    async fn world() -> World {
        let (entropy, store) = (Arc::new(SeededEntropy::default()), Arc::new(FakeMetadataStore::new()));
        let account = AccountId::parse("000000000000").unwrap();
        let accounts = Accounts::load(&[], store, &account, entropy.clone()).await.unwrap();
        let found = accounts.all().remove(0);
        let clock = Arc::new(ManualClock::default());
        let accounts = Arc::new(accounts);
        let verifier = Verifier {
            temporary: Arc::new(TemporaryCredentials::new(&*entropy)),
            sessions: Arc::new(Sessions {
                accounts: Arc::clone(&accounts),
                entropy,
            }),
            accounts,
            clock: clock.clone(),
            mode: AuthMode::Required,
            default: Place {
                account,
                region: Region::parse("us-east-1").unwrap(),
            },
        };
        World {
            verifier,
            clock,
            key: (found.access_key.clone(), found.secret.clone()),
        }
    }

    /// Signs by the same rules, for negative cases; that the rules are right is shown by the vectors.
    fn signed(key: (&str, &str), token: Option<&str>, at: Timestamp, body: &[u8]) -> Parts {
        let time = compact(at);
        let scope = format!("{}/us-east-1/lambda/aws4_request", &time[..8]);
        let authorization = |signature: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders=host;x-amz-date,Signature={signature}",
                key.0
            )
        };
        let mut request = http::Request::post("/2015-03-31/functions/f/invocations?Qualifier=1")
            .header("host", "localhost")
            .header("x-amz-date", &time)
            .header("authorization", authorization(&"0".repeat(64)));
        if let Some(token) = token {
            request = request.header("x-amz-security-token", token);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let presented = Presented::read(&parts).unwrap().unwrap();
        let payload = hex::encode(Sha256::digest(body));
        let signature = hex::encode(presented.expected(&parts, key.1, &payload, PathEncoding::Twice));
        parts
            .headers
            .insert("authorization", authorization(&signature).parse().unwrap());
        parts
    }

    fn check(world: &World, parts: &Parts, door: Door, body: &[u8]) -> Result<Caller, LambdaError> {
        world.verifier.begin(parts, door)?.finish(parts, body)
    }

    #[tokio::test]
    async fn wrong_keys_bodies_and_times_are_refused() {
        let world = world().await;
        let (id, secret) = (world.key.0.as_str(), world.key.1.as_str());
        let now = world.clock.now();
        let parts = signed((id, secret), None, now, b"{}");
        let caller = check(&world, &parts, Door::Front, b"{}").unwrap();
        assert_eq!(caller.arn(), "arn:aws:iam::000000000000:root");

        let code = |parts: &Parts, body: &[u8]| check(&world, parts, Door::Front, body).unwrap_err().code;
        assert_eq!(code(&parts, b"{ }"), Code::InvalidSignature);
        assert_eq!(
            code(&signed((id, "wrong"), None, now, b""), b""),
            Code::InvalidSignature
        );
        assert_eq!(
            code(&signed(("AKIANOBODY", secret), None, now, b""), b""),
            Code::UnrecognizedClient
        );
        assert_eq!(
            code(&signed((id, secret), Some("t"), now, b""), b""),
            Code::UnrecognizedClient
        );
        let mut other = signed((id, secret), None, now, b"");
        other.uri = "/2015-03-31/functions/f/invocations?Qualifier=2".parse().unwrap();
        assert_eq!(code(&other, b""), Code::InvalidSignature);

        world.clock.advance(Duration::from_secs(299));
        assert!(check(&world, &parts, Door::Front, b"{}").is_ok());
        world.clock.advance(Duration::from_secs(2));
        assert_eq!(code(&parts, b"{}"), Code::InvalidSignature);
        let ahead = signed(
            (id, secret),
            None,
            world.clock.now().plus(Duration::from_secs(301)),
            b"",
        );
        assert_eq!(code(&ahead, b""), Code::InvalidSignature);
        let unsigned = http::Request::get("/").body(()).unwrap().into_parts().0;
        assert_eq!(code(&unsigned, b""), Code::MissingAuthenticationToken);
    }

    #[tokio::test]
    async fn sessions_open_the_front_until_they_are_over() {
        let world = world().await;
        let sessions = &world.verifier.sessions;
        let account = world.verifier.accounts.all().remove(0);
        let session = Session {
            role: "role".to_owned(),
            name: "me".to_owned(),
            expires: world.clock.now().as_secs() + 60,
        };
        let keys = sessions.issue(&account, &session);
        let key = (keys.access_key.as_str(), keys.secret.as_str());
        let sign = |token: Option<&str>| signed(key, token, world.clock.now(), b"");
        let caller = check(&world, &sign(Some(&keys.token)), Door::Front, b"").unwrap();
        assert_eq!(caller.arn(), "arn:aws:sts::000000000000:assumed-role/role/me");
        let code = |parts: &Parts, door| check(&world, parts, door, b"").unwrap_err().code;
        assert_eq!(code(&sign(None), Door::Front), Code::UnrecognizedClient);
        let inside = Door::Instance(InstanceId::generate());
        assert_eq!(code(&sign(Some(&keys.token)), inside), Code::UnrecognizedClient);
        world.clock.advance(Duration::from_secs(61));
        assert_eq!(code(&sign(Some(&keys.token)), Door::Front), Code::ExpiredToken);
    }

    #[tokio::test]
    async fn a_declared_payload_hash_is_checked_too() {
        let world = world().await;
        let mut parts = signed((&world.key.0, &world.key.1), None, world.clock.now(), b"{}");
        parts.headers.insert(
            "x-amz-content-sha256",
            hex::encode(Sha256::digest(b"[]")).parse().unwrap(),
        );
        assert_eq!(
            check(&world, &parts, Door::Front, b"{}").unwrap_err().code,
            Code::InvalidSignature
        );
        parts.headers.insert(
            "x-amz-content-sha256",
            hex::encode(Sha256::digest(b"{}")).parse().unwrap(),
        );
        assert!(check(&world, &parts, Door::Front, b"{}").is_ok());
        parts.headers.insert("x-amz-content-sha256", UNSIGNED.parse().unwrap());
        assert_eq!(
            check(&world, &parts, Door::Front, b"{}").unwrap_err().code,
            Code::InvalidSignature
        );
    }

    #[tokio::test]
    async fn an_instance_opens_only_its_own_door() {
        let world = world().await;
        let (one, two) = (InstanceId::generate(), InstanceId::generate());
        let space = Namespace::parse("aws/000000000000/us-east-1").unwrap();
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned();
        let issued = world.verifier.temporary.issue(one, space, arn.clone());
        let now = world.clock.now();
        let parts = signed((&issued.access_key, &issued.secret), Some(&issued.token), now, b"");
        let caller = check(&world, &parts, Door::Instance(one), b"").unwrap();
        assert_eq!(caller.principal, Principal::Function(arn));
        assert_eq!(caller.arn(), "arn:aws:sts::000000000000:assumed-role/f/f");
        let code = |parts: &Parts, door| check(&world, parts, door, b"").unwrap_err().code;
        assert_eq!(code(&parts, Door::Instance(two)), Code::UnrecognizedClient);
        let tokenless = signed((&issued.access_key, &issued.secret), None, now, b"");
        assert_eq!(code(&tokenless, Door::Instance(one)), Code::UnrecognizedClient);
        let account = signed((&world.key.0, &world.key.1), None, now, b"");
        assert_eq!(code(&account, Door::Instance(one)), Code::UnrecognizedClient);
        world.verifier.temporary.revoke(one);
        assert_eq!(code(&parts, Door::Instance(one)), Code::UnrecognizedClient);
    }

    #[tokio::test]
    async fn without_checks_everybody_is_the_default_account_but_not_inside_instances() {
        let mut world = world().await;
        world.verifier.mode = AuthMode::Off;
        let parts = signed(("any", "thing"), None, Timestamp::EPOCH, b"");
        assert_eq!(
            check(&world, &parts, Door::Front, b"x").unwrap().place,
            world.verifier.default
        );
        let unsigned = http::Request::get("/").body(()).unwrap().into_parts().0;
        assert!(check(&world, &unsigned, Door::Front, b"").is_ok());
        assert!(check(&world, &unsigned, Door::Instance(InstanceId::generate()), b"").is_err());
    }
}
