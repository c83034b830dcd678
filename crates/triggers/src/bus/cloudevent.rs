//! CloudEvents 1.0 and their JSON format.
//! Sources: "CloudEvents", version 1.0.2; "JSON Event Format for CloudEvents", version 1.0.2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

/// The version of the specification that is understood.
pub(super) const VERSION: &str = "1.0";

/// An event: attributes, checked, and data.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEvent {
    attributes: Map<String, Value>,
    data: Option<EventData>,
}

/// The data of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum EventData {
    /// A JSON value; a text of another kind is a JSON string.
    Json(Value),
    /// Anything else.
    Binary(Bytes),
}

/// Something is no CloudEvent: why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// A required attribute is not there, or is empty.
    #[error("attribute {0} is missing or empty")]
    Missing(&'static str),
    /// The version is another one.
    #[error("specversion {0:?} is not 1.0")]
    Version(String),
    /// An attribute has a name or a value that none can have.
    #[error("attribute {name:?} is not valid: {why}")]
    Attribute {
        /// Its name.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// The document is not of the format.
    #[error("{0}")]
    Format(String),
}

impl CloudEvent {
    /// An event with what every event has.
    ///
    /// # Errors
    /// [`CloudEventError::Missing`] for an empty text.
    pub fn new(id: &str, source: &str, kind: &str) -> Result<Self, CloudEventError> {
        let mut attributes = Map::new();
        for (name, value) in [("specversion", VERSION), ("id", id), ("source", source), ("type", kind)] {
            attributes.insert(name.to_owned(), Value::from(value));
        }
        Self::checked(attributes, None)
    }

    /// An event of attributes and data.
    ///
    /// # Errors
    /// [`CloudEventError`].
    pub fn checked(attributes: Map<String, Value>, data: Option<EventData>) -> Result<Self, CloudEventError> {
        for (name, value) in &attributes {
            check(name, value).map_err(|why| CloudEventError::Attribute {
                name: name.clone(),
                why,
            })?;
        }
        let event = Self { attributes, data };
        for name in ["specversion", "id", "source", "type"] {
            if event.get(name).is_none_or(str::is_empty) {
                return Err(CloudEventError::Missing(name));
            }
        }
        match event.get("specversion") {
            Some(VERSION) => Ok(event),
            other => Err(CloudEventError::Version(other.unwrap_or_default().to_owned())),
        }
    }

    /// With one attribute more. One that is not valid is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if check(name, &value).is_ok() {
            self.attributes.insert(name.to_owned(), value);
        }
        self
    }

    /// With this data.
    #[must_use]
    pub fn with_data(mut self, data: EventData) -> Self {
        self.data = Some(data);
        self
    }

    /// The value of an attribute that is a text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }

    /// Its data.
    #[must_use]
    pub const fn data(&self) -> Option<&EventData> {
        self.data.as_ref()
    }

    /// Its JSON document, in structured form.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut document = self.attributes.clone();
        match &self.data {
            Some(EventData::Json(value)) => document.insert("data".to_owned(), value.clone()),
            Some(EventData::Binary(bytes)) => {
                document.insert("data_base64".to_owned(), Value::String(STANDARD.encode(bytes)))
            }
            None => None,
        };
        Value::Object(document)
    }

    /// The event of a JSON document in structured form.
    ///
    /// # Errors
    /// [`CloudEventError`].
    pub fn of_document(document: Value) -> Result<Self, CloudEventError> {
        let Value::Object(mut attributes) = document else {
            return Err(CloudEventError::Format("an event is a JSON object".to_owned()));
        };
        let data = attributes.shift_remove("data");
        let encoded = attributes.shift_remove("data_base64");
        attributes.retain(|_, value| !value.is_null());
        let data = match (data, encoded) {
            (Some(_), Some(_)) => {
                let text = "an event has data or data_base64, not both".to_owned();
                return Err(CloudEventError::Format(text));
            }
            (Some(data), None) => Some(EventData::Json(data)),
            (None, Some(encoded)) => {
                let bytes = encoded.as_str().and_then(|text| STANDARD.decode(text).ok());
                let bytes = bytes.ok_or_else(|| CloudEventError::Format("data_base64 is no base64".to_owned()))?;
                Some(EventData::Binary(bytes.into()))
            }
            (None, None) => None,
        };
        Self::checked(attributes, data)
    }
}

/// Names are lower-case letters and digits; values are texts, booleans and numbers of 32 bits.
fn check(name: &str, value: &Value) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err("names are lower-case letters and digits, at most 64");
    }
    if value.is_array() || value.is_object() || value.is_null() {
        return Err("values are texts, booleans and whole numbers");
    }
    if value.is_number() && value.as_i64().is_none_or(|number| i32::try_from(number).is_err()) {
        return Err("numbers are whole and have 32 bits");
    }
    if name == "time"
        && value
            .as_str()
            .is_none_or(|text| text.parse::<jiff::Timestamp>().is_err())
    {
        return Err("it is a time such as 2026-11-24T12:00:00Z");
    }
    Ok(())
}
