//! Signs of life on standard error for what takes more than a moment; none where nobody looks.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A spinner with a changing text. On a terminal it turns and goes away at the end; elsewhere the first text is printed
/// once, so that a log says what the time was spent on.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins.
    pub fn start(what: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            crate::output::note(&format!("{what} …"));
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Says what is going on now.
    pub fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }
}

/// Waits for something, with a sign of life if it takes more than a second.
pub async fn watch<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    let _progress = Progress::start(what);
    work.await
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
