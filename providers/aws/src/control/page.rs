//! Pages of listings. A marker names the last item shown, so a page stays right when items come and go meanwhile.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Query;
use super::validate::Violations;
use crate::errors::LambdaError;

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// What a request asks of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paging {
    after: Option<String>,
    size: usize,
}

impl Paging {
    /// Reads `Marker` and `MaxItems`. A page has at most `limit` items, whatever larger number is asked for.
    ///
    /// # Errors
    /// 400 for a marker that is none of ours, `ValidationException` for a number out of range.
    pub(crate) fn read(query: &Query, limit: usize) -> Result<Self, LambdaError> {
        let after = query.get("Marker").map(decode).transpose()?;
        let mut size = limit;
        if let Some(text) = query.get("MaxItems") {
            let mut found = Violations::default();
            let number: i64 = text.parse().unwrap_or(0);
            found.range("maxItems", Some(number), 1..=10_000);
            found.finish()?;
            size = usize::try_from(number).unwrap_or(limit).min(limit);
        }
        Ok(Self { after, size })
    }

    /// The key after which the page begins.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// How many items to look up for [`Self::cut`]: one more than are shown.
    pub(crate) const fn wanted(&self) -> usize {
        self.size + 1
    }

    /// Cuts items that come after the marker into a page; `key` is the marker's text for an item.
    pub(crate) fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        let more = items.len() > self.size;
        items.truncate(self.size);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| URL_SAFE_NO_PAD.encode(key(last)));
        Page { items, next }
    }
}

fn decode(marker: &str) -> Result<String, LambdaError> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| LambdaError::invalid("Invalid Marker: it must be a NextMarker of this operation."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_on_after_the_last_item() {
        let all = ["a", "b", "c", "d", "e"];
        let mut query = Query::parse("MaxItems=2");
        let mut seen = Vec::new();
        loop {
            let paging = Paging::read(&query, 50).unwrap();
            let rest = all
                .iter()
                .filter(|item| paging.after().is_none_or(|after| **item > after));
            let page = paging.cut(rest.take(paging.wanted()).copied().collect(), |item| (*item).to_owned());
            seen.extend(page.items);
            let Some(next) = page.next else { break };
            query = Query::parse(&format!("MaxItems=2&Marker={next}"));
        }
        assert_eq!(seen, all);
        assert_eq!(Paging::read(&Query::parse("MaxItems=9999"), 50).unwrap().wanted(), 51);
        for bad in ["MaxItems=0", "MaxItems=10001", "MaxItems=x", "Marker=%21"] {
            assert!(Paging::read(&Query::parse(bad), 50).is_err(), "{bad}");
        }
    }
}
