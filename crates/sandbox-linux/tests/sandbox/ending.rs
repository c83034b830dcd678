//! The end of an instance, from whatever side it comes.

use sonagi_model::{Exit, InstanceId};
use sonagi_ports::Sandbox;
use tokio::time::timeout;

use crate::node::{PATIENCE, on_node, on_node_with, read_line};
use sonagi_sandbox_linux::Options;

crate::tests![
    the_rest_ends_with_the_first_process,
    orphans_are_reaped,
    what_ignores_signals_goes_too,
    user_ids_can_run_out_and_come_back,
];

fn the_rest_ends_with_the_first_process() {
    on_node(|node| async move {
        // The one that stays behind holds the output open: it ends only when that process does.
        let outcome = node
            .run("(trap '' TERM HUP; setsid sleep 1000 & setsid sleep 1000 &) ; exit 4")
            .await;
        assert_eq!(outcome.exit, Exit::Code(4));
    });
}

fn orphans_are_reaped() {
    on_node(|node| async move {
        let mut plan = node.plan("i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; echo done");
        plan.limits.processes = 30;
        assert_eq!(node.run_plan(plan).await.output, "done\n");
    });
}

fn what_ignores_signals_goes_too() {
    on_node(|node| async move {
        let started = node
            .start(node.plan("trap '' TERM INT HUP; echo ready; while :; do sleep 1000; done"))
            .await
            .unwrap();
        let (_line, _pipe) = read_line(started.output).await;
        let all = futures_util::future::join3(
            started.sandbox.destroy(),
            started.sandbox.destroy(),
            started.sandbox.exited(),
        );
        assert_eq!(timeout(PATIENCE, all).await.unwrap().2, Exit::Reclaimed);
        assert_eq!(node.sandbox.alive(), 0);
        started.sandbox.freeze().unwrap();
        started.sandbox.thaw().unwrap();
        started.sandbox.initialized();
    });
}

fn user_ids_can_run_out_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path());
    options.uid_count = 2;
    on_node_with(folder, &options, |node| async move {
        let mut kept = Vec::new();
        for _ in 0..2 {
            kept.push(node.start(node.plan("sleep 1000")).await.unwrap().sandbox);
        }
        let mut third = node.plan("true");
        third.instance = InstanceId::generate();
        let refused = node.start(third).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "the host has no room for another instance: all 2 user ids are in use"
        );
        kept.remove(0).destroy().await;
        assert_eq!(node.output("echo again").await, "again\n");
        assert_eq!(node.sandbox.alive(), 1);
    });
}
