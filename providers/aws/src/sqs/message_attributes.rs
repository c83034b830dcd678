//! Attributes of messages, and the MD5 sums by which clients check that nothing was changed on the way.
//! Source: "Calculating the MD5 message digest for message attributes" of the SQS developer guide.
//!
//! In the store each is a text `TYPE:VALUE`, the value of a binary one as base64.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use super::errors::{Kind, SqsError, shown};

/// Most attributes of a message.
const MOST: usize = 10;
/// Longest name and longest type, bytes.
const NAME_MAX: usize = 256;

/// Attributes by name.
pub(crate) type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// One attribute, as clients write it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MessageAttribute {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) string_value: Option<String>,
    /// Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) binary_value: Option<String>,
    #[serde(default)]
    pub(crate) data_type: String,
}

impl MessageAttribute {
    pub(crate) fn is_binary(&self) -> bool {
        self.data_type == "Binary" || self.data_type.starts_with("Binary.")
    }

    fn is_number(&self) -> bool {
        self.data_type == "Number" || self.data_type.starts_with("Number.")
    }

    fn is_text(&self) -> bool {
        self.data_type == "String" || self.data_type.starts_with("String.")
    }

    /// The value's bytes.
    fn bytes(&self) -> Vec<u8> {
        match (&self.binary_value, &self.string_value) {
            (Some(binary), _) if self.is_binary() => STANDARD.decode(binary).unwrap_or_default(),
            (_, Some(text)) => text.as_bytes().to_vec(),
            (_, None) => Vec::new(),
        }
    }

    /// As the store has it.
    pub(super) fn stored(&self) -> String {
        let value = if self.is_binary() {
            &self.binary_value
        } else {
            &self.string_value
        };
        format!("{}:{}", self.data_type, value.as_deref().unwrap_or_default())
    }

    /// From the store's text.
    pub(super) fn of_stored(text: &str) -> Self {
        let (data_type, value) = text.split_once(':').unwrap_or(("String", text));
        let mut attribute = Self {
            data_type: data_type.to_owned(),
            ..Self::default()
        };
        if attribute.is_binary() {
            attribute.binary_value = Some(value.to_owned());
        } else {
            attribute.string_value = Some(value.to_owned());
        }
        attribute
    }

    fn check(&self, name: &str) -> Result<(), SqsError> {
        let name = shown(name);
        let wrong = |text: String| Err(SqsError::new(Kind::InvalidParameterValue, text));
        let kind = &self.data_type;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if !(self.is_binary() || self.is_number() || self.is_text())
            || !kind.bytes().all(plain)
            || kind.len() > NAME_MAX
        {
            return wrong(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes \
                 is Binary, Number, and String."
            ));
        }
        let value = if self.is_binary() {
            &self.binary_value
        } else {
            &self.string_value
        };
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else {
            return wrong(format!(
                "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
                 '{kind}'."
            ));
        };
        if self.is_number() && value.parse::<f64>().is_err() {
            return wrong(format!(
                "Can't cast the value of message (user) attribute '{name}' to a number."
            ));
        }
        if self.is_binary() && STANDARD.decode(value).is_err() {
            return wrong(format!("The value of the message attribute '{name}' is no base64."));
        }
        Ok(())
    }
}

/// Checks the attributes of a message.
pub(super) fn check(attributes: &MessageAttributes) -> Result<(), SqsError> {
    let wrong = |text: String| Err(SqsError::new(Kind::InvalidParameterValue, text));
    if attributes.len() > MOST {
        let text = format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MOST}].",
            attributes.len()
        );
        return wrong(text);
    }
    for (name, attribute) in attributes {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let lower = name.to_ascii_lowercase();
        let good = !name.is_empty()
            && name.len() <= NAME_MAX
            && name.bytes().all(allowed)
            && !(lower.starts_with("aws.") || lower.starts_with("amazon."))
            && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."));
        if !good {
            return wrong(format!("Invalid message attribute name: '{}'.", shown(name)));
        }
        attribute.check(name)?;
    }
    Ok(())
}

/// Bytes that attributes count towards a message's size.
pub(super) fn size(attributes: &MessageAttributes) -> usize {
    let each = attributes.iter();
    each.map(|(name, attribute)| name.len() + attribute.data_type.len() + attribute.bytes().len())
        .sum()
}

/// The MD5 sum of a body.
pub(crate) fn md5_of(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// The MD5 sum of attributes; `None` if there are none.
pub(crate) fn md5_of_attributes(attributes: &MessageAttributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    let sized = |digest: &mut Md5, bytes: &[u8]| {
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    };
    // Sorted by name, as the map is.
    for (name, attribute) in attributes {
        sized(&mut digest, name.as_bytes());
        sized(&mut digest, attribute.data_type.as_bytes());
        digest.update([if attribute.is_binary() { 2 } else { 1 }]);
        sized(&mut digest, &attribute.bytes());
    }
    Some(hex::encode(digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_stored_and_checked() {
        let text = MessageAttribute {
            string_value: Some("a:b".to_owned()),
            data_type: "String".to_owned(),
            ..MessageAttribute::default()
        };
        assert_eq!(MessageAttribute::of_stored(&text.stored()), text);
        let binary = MessageAttribute {
            binary_value: Some("AQI=".to_owned()),
            data_type: "Binary.png".to_owned(),
            ..MessageAttribute::default()
        };
        assert_eq!(MessageAttribute::of_stored(&binary.stored()), binary);
        let check = |name: &str, attribute: MessageAttribute| check(&[(name.to_owned(), attribute)].into());
        assert!(check("k", text.clone()).is_ok() && check("k", binary).is_ok());
        for name in ["", "a b", "AWS.x", ".x", "x..y"] {
            assert!(check(name, text.clone()).is_err(), "{name}");
        }
        let with = |data_type: &str, value: &str| MessageAttribute {
            string_value: Some(value.to_owned()),
            data_type: data_type.to_owned(),
            ..MessageAttribute::default()
        };
        assert!(check("k", with("Number.int", "-1.5e3")).is_ok());
        for (data_type, value) in [
            ("Number", "x"),
            ("Text", "x"),
            ("String", ""),
            ("Binary", "x"),
            ("String.a:b", "x"),
        ] {
            assert!(check("k", with(data_type, value)).is_err(), "{data_type} {value}");
        }
    }
}
