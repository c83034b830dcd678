//! How long a start takes. The limits are far above what a quiet machine needs (`cargo xtask bench` measures that): they
//! find a start that waits for a timer, a lock or another process.

use std::time::Duration;

use sonagi_ports::Sandbox;
use tokio::time::{Instant, timeout};

use crate::node::{Node, PATIENCE, on_node, until};

crate::tests![starts_take_milliseconds];

const ROUNDS: usize = 40;

/// Medians of making the cell, starting the program, and removing everything.
async fn medians(node: &Node, ready: bool) -> [Duration; 3] {
    let plan = node.plan_for(&["/usr/bin/true"]);
    node.sandbox.expect(&plan.cell, usize::from(ready));
    let (mut cells, mut processes, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        if ready {
            until("a cell is ready", || node.sandbox.ready_cells() == 1).await;
        }
        let started = node.start(plan.clone()).await.unwrap();
        cells.push(started.cell);
        processes.push(started.process);
        let begun = Instant::now();
        timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
        removals.push(begun.elapsed());
    }
    [cells, processes, removals].map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

fn starts_take_milliseconds() {
    on_node(|node| async move {
        for ready in [false, true] {
            let [cell, process, removal] = medians(&node, ready).await;
            println!("    ready {ready}: cell {cell:?}, process {process:?}, removal {removal:?}");
            assert!(
                cell + process < Duration::from_millis(250),
                "a start took {cell:?} and {process:?}"
            );
            assert!(removal < Duration::from_millis(500), "removing took {removal:?}");
        }
    });
}
