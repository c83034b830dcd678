//! Ids as Fn's clients see them: 26 upper-case characters in base 32, ordered by time. They are the core's own UUIDs in
//! another writing.
//! Source: fnproject/fn 0.3.753, `api/id`: Crockford's alphabet, the most significant character first.

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of an id.
const LENGTH: usize = 26;

/// A new id.
pub(crate) fn generate() -> String {
    write(&Uuid::now_v7())
}

/// The text of an id.
pub(crate) fn write(id: &Uuid) -> String {
    let value = id.as_u128();
    (0..LENGTH)
        .rev()
        .map(|at| char::from(ALPHABET[(value >> (5 * at) & 31) as usize]))
        .collect()
}

/// The id of a text; none for what [`write`] never makes.
pub(crate) fn read(text: &str) -> Option<Uuid> {
    if text.len() != LENGTH {
        return None;
    }
    let mut value = 0_u128;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        // The first character has only three bits of the 128.
        value = value.checked_mul(32)? | digit as u128;
    }
    Some(Uuid::from_u128(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_in_order() {
        let (one, two) = (Uuid::from_u128(7), Uuid::from_u128(u128::MAX));
        assert_eq!(write(&one), "00000000000000000000000007");
        assert_eq!(write(&two), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        for id in [one, two, Uuid::now_v7()] {
            assert_eq!(read(&write(&id)), Some(id));
        }
        assert!(generate() <= generate());
        for bad in [
            "",
            "0",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "0000000000000000000000000I",
            "0000000000000000000000000a",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
