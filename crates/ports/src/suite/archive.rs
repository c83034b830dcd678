//! What every [`Archive`] must do.

use bytes::Bytes;
use sonagi_model::Timestamp;

use crate::{Archive, Filing, FilingFilter, FilingPart};

fn filing(scope: &str, id: &str, at: i64, label: &str) -> Filing {
    Filing {
        scope: scope.to_owned(),
        id: id.to_owned(),
        at: Timestamp::from_millis(at),
        label: label.to_owned(),
        summary: Bytes::from(format!("s-{id}")),
        body: Bytes::from(format!("b-{id}")),
    }
}

/// Files some records and reads them back in every way.
///
/// # Panics
/// When the archive does not do what the port says.
pub async fn check(archive: &dyn Archive) {
    for (scope, id, at, label) in [
        ("a", "1", 10, "x"),
        ("a", "2", 20, "y"),
        ("a", "3", 30, "x"),
        ("b", "4", 40, "x"),
    ] {
        archive.file(filing(scope, id, at, label)).expect("filed");
    }
    let filter = |scope: &str| FilingFilter {
        scope: scope.to_owned(),
        limit: 10,
        ..Default::default()
    };
    let list = async |filter, part| {
        let found = archive.list(filter, part).await.expect("listed");
        found
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(filter("a"), FilingPart::Summary).await, ["s-3", "s-2", "s-1"]);
    assert_eq!(list(filter("c"), FilingPart::Summary).await, [""; 0]);
    let labelled = FilingFilter {
        label: Some("x".to_owned()),
        ..filter("a")
    };
    assert_eq!(list(labelled, FilingPart::Body).await, ["b-3", "b-1"]);
    let window = FilingFilter {
        since: Some(Timestamp::from_millis(10)),
        upto: Some(Timestamp::from_millis(20)),
        ..filter("a")
    };
    assert_eq!(list(window.clone(), FilingPart::Body).await, ["b-2", "b-1"]);
    assert_eq!(archive.count(window).await.expect("counted"), 2);
    let paged = FilingFilter {
        skip: 1,
        limit: 1,
        ..filter("a")
    };
    assert_eq!(list(paged, FilingPart::Body).await, ["b-2"]);
    let get = async |scope: &str, id: &str| archive.get(scope, id).await.expect("read");
    assert_eq!(get("a", "3").await.as_deref(), Some(b"b-3".as_slice()));
    assert_eq!(get("b", "3").await, None, "another scope's record is not seen");
    let again = Filing {
        body: Bytes::from_static(b"new"),
        ..filing("a", "3", 35, "z")
    };
    archive.file(again).expect("filed");
    assert_eq!(get("a", "3").await.as_deref(), Some(b"new".as_slice()));
    assert_eq!(archive.count(filter("a")).await.expect("counted"), 3);
}
