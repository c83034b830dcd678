//! What every [`LogSink`] does.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use std::time::Duration;

use sonagi_model::{InvocationId, Timestamp};

use crate::fake::sample;
use crate::{LogLine, LogSink, LogSource};

/// All checks, on an empty sink.
///
/// # Panics
/// When one fails.
pub async fn check(sink: &dyn LogSink) {
    lines_come_back_exactly_and_in_order(sink).await;
    reading_filters_and_keeps_the_newest(sink).await;
    functions_do_not_see_each_other(sink).await;
    followers_see_what_comes_after(sink).await;
    removed_lines_are_gone(sink).await;
}

fn later(millis: u64) -> Timestamp {
    sample::NOW.plus(Duration::from_millis(millis))
}

async fn lines_come_back_exactly_and_in_order(sink: &dyn LogSink) {
    let function = sample::function("exact");
    assert_eq!(sink.read(function.id, None, None, 10).await.unwrap(), []);
    let hostile = "\u{1b}[31m\u{0}\"{\\\r\u{2028}é\n{\"x\":1}";
    let lines: Vec<LogLine> = ["one", "", hostile, &"long ".repeat(20_000)]
        .iter()
        .enumerate()
        .map(|(i, text)| LogLine {
            invocation: (i % 2 == 0).then(InvocationId::generate),
            source: if i == 1 {
                LogSource::Platform
            } else {
                LogSource::Function
            },
            truncated: i == 3,
            ..sample::line(&function, later(i as u64), text)
        })
        .collect();
    sink.write(lines[..2].to_vec());
    sink.write(lines[2..].to_vec());
    assert_eq!(sink.read(function.id, None, None, 10).await.unwrap(), lines);
}

async fn reading_filters_and_keeps_the_newest(sink: &dyn LogSink) {
    let function = sample::function("filters");
    let (one, two) = (InvocationId::generate(), InvocationId::generate());
    let line = |i: u64| LogLine {
        invocation: Some(if i.is_multiple_of(2) { one } else { two }),
        ..sample::line(&function, later(i), &format!("line {i} of {one}"))
    };
    sink.write((0..10).map(line).collect());
    let cases = [
        (None, None, 3, vec!["line 7", "line 8", "line 9"]),
        (Some(one), None, 2, vec!["line 6", "line 8"]),
        (Some(two), Some(later(7)), 10, vec!["line 7", "line 9"]),
        (None, Some(later(8)), 10, vec!["line 8", "line 9"]),
        (Some(InvocationId::generate()), None, 10, vec![]),
        (None, Some(later(10)), 10, vec![]),
        (None, None, 0, vec![]),
    ];
    for (invocation, since, limit, expected) in cases {
        let found = sink.read(function.id, invocation, since, limit).await.unwrap();
        let texts: Vec<&str> = found.iter().map(|line| &line.text[..6]).collect();
        assert_eq!(texts, expected, "{invocation:?} {since:?} {limit}");
    }
}

async fn functions_do_not_see_each_other(sink: &dyn LogSink) {
    let (one, two) = (sample::function("one"), sample::function("two"));
    sink.write(vec![
        sample::line(&one, later(0), "of one"),
        sample::line(&two, later(0), "of two"),
    ]);
    for (function, text) in [(&one, "of one"), (&two, "of two")] {
        let found = sink.read(function.id, None, None, 10).await.unwrap();
        assert_eq!(found.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), [text]);
    }
}

async fn followers_see_what_comes_after(sink: &dyn LogSink) {
    let (function, other) = (sample::function("followed"), sample::function("other"));
    let line = |text: &str| sample::line(&function, later(0), text);
    sink.write(vec![line("before")]);
    let (mut first, mut second) = (sink.follow(function.id), sink.follow(function.id));
    sink.write(vec![sample::line(&other, later(0), "of another"), line("after")]);
    assert_eq!(first.recv().await.unwrap().text, "after");
    drop(first);
    sink.write(vec![line("last")]);
    assert_eq!(second.recv().await.unwrap().text, "after");
    assert_eq!(second.recv().await.unwrap().text, "last");
}

async fn removed_lines_are_gone(sink: &dyn LogSink) {
    let function = sample::function("removed");
    sink.write(vec![sample::line(&function, later(0), "old")]);
    sink.remove(function.id).await;
    assert_eq!(sink.read(function.id, None, None, 10).await.unwrap(), []);
    sink.remove(function.id).await;
    sink.write(vec![sample::line(&function, later(1), "new")]);
    assert_eq!(sink.read(function.id, None, None, 10).await.unwrap()[0].text, "new");
}
