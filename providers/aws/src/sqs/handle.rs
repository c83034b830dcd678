//! Receipt handles: the text form of the store's receipts, bound to their queue.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sonagi_model::QueueId;
use sonagi_ports::Receipt;

use super::errors::{Kind, SqsError, shown};

/// Queue, place, number of the receipt.
const SIZE: usize = 16 + 8 + 4;

/// The text of a receipt.
pub(super) fn text(queue: QueueId, receipt: Receipt) -> String {
    let mut bytes = Vec::with_capacity(SIZE);
    bytes.extend(queue.as_uuid().as_bytes());
    bytes.extend(receipt.sequence.to_be_bytes());
    bytes.extend(receipt.lease.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The receipt of a text.
pub(super) fn parse(queue: QueueId, text: &str) -> Result<Receipt, SqsError> {
    if text.is_empty() {
        return Err(SqsError::missing("ReceiptHandle"));
    }
    read(queue, text).ok_or_else(|| {
        let text = format!(
            "The input receipt handle \"{}\" is not a valid receipt handle.",
            shown(text)
        );
        SqsError::new(Kind::ReceiptHandleIsInvalid, text)
    })
}

fn read(queue: QueueId, text: &str) -> Option<Receipt> {
    let bytes: [u8; SIZE] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (owner, rest) = bytes.split_at(16);
    let (sequence, lease) = rest.split_at(8);
    if owner != queue.as_uuid().as_bytes() {
        return None;
    }
    Some(Receipt {
        sequence: u64::from_be_bytes(sequence.try_into().ok()?),
        lease: u32::from_be_bytes(lease.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_of_one_queue() {
        let (queue, receipt) = (QueueId::generate(), Receipt { sequence: 7, lease: 2 });
        let handle = text(queue, receipt);
        assert_eq!(parse(queue, &handle).unwrap(), receipt);
        for (queue, text) in [
            (QueueId::generate(), handle.as_str()),
            (queue, "x"),
            (queue, &handle[1..]),
        ] {
            assert_eq!(parse(queue, text).unwrap_err().kind, Kind::ReceiptHandleIsInvalid);
        }
        assert_eq!(parse(queue, "").unwrap_err().kind, Kind::MissingParameter);
    }
}
