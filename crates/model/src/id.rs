//! Identifiers. Each is a random UUID behind its own type; the text form carries a prefix, so a pasted id says what it
//! is. An invocation's id has no prefix: it is the request id that providers' clients show and expect to be a UUID.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an id of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected} id")]
pub struct ParseIdError {
    /// What was given.
    pub text: String,
    /// The kind of id that was expected, with its article.
    pub expected: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, ordered by time of creation.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The same id as a bare UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// An id from a bare UUID, as a store or a provider's wire format holds it.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                if $prefix.is_empty() { self.0.as_hyphenated().fmt(f) } else { self.0.as_simple().fmt(f) }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.to_owned(), expected: $expected })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A function, for as long as it lives; a function created later under the same name has another id.
    FunctionId, "fn_", "a function"
);
id!(
    /// An immutable pair of code and configuration.
    RevisionId, "rev_", "a revision"
);
id!(
    /// One accepted request to run; shown to callers as the provider's request id.
    InvocationId, "", "an invocation"
);
id!(
    /// One sandbox with one revision in it.
    InstanceId, "ins_", "an instance"
);
id!(
    /// One durably accepted asynchronous event.
    EventId, "evt_", "an event"
);
id!(
    /// One message queue, for as long as it lives; a queue made later under the same name has another id.
    QueueId, "que_", "a queue"
);
id!(
    /// One message, the same in every queue that it is moved to; shown to clients as it is.
    MessageId, "", "a message"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_kinds_do_not_mix() {
        let id = FunctionId::generate();
        assert_eq!(id.to_string().parse::<FunctionId>().unwrap(), id);
        assert!(id.to_string().parse::<RevisionId>().is_err());
        let run = InvocationId::generate();
        assert_eq!(run.to_string().len(), 36);
        assert_eq!(
            serde_json::from_str::<InvocationId>(&serde_json::to_string(&run).unwrap()).unwrap(),
            run
        );
    }
}
