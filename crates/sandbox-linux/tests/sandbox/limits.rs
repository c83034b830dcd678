//! What a function may use, and what happens when it wants more.

use sonagi_model::{Exit, Mebibytes};

use crate::node::{PATIENCE, on_node, read_line};

crate::tests![
    too_much_memory_ends_the_instance_and_is_told,
    scratch_is_not_memory,
    scratch_is_limited_in_bytes_and_files,
    descriptors_are_limited,
    processes_are_limited,
    memory_is_measured,
];

/// Takes 4 MiB at a time and touches it.
const GREEDY: &str = "
held = []
while True:
    held.append(bytearray(b'x') * (4 << 20))
";

fn too_much_memory_ends_the_instance_and_is_told() {
    on_node(|node| async move {
        let outcome = node
            .run_plan(node.plan_for(&["/usr/bin/python3", "-I", "-S", "-c", GREEDY]))
            .await;
        assert_eq!(outcome.exit, Exit::OutOfMemory);
        // A signal of its own is no such thing.
        assert_eq!(node.run("kill -9 $$").await.exit, Exit::Signal(9));
    });
}

fn scratch_is_not_memory() {
    on_node(|node| async move {
        let mut plan = node.plan("head -c 100M /dev/zero > /tmp/file && echo written && wc -c < /tmp/file");
        plan.limits.scratch = Mebibytes(128);
        assert_eq!(node.run_plan(plan).await.output, "written\n104857600\n");
    });
}

fn scratch_is_limited_in_bytes_and_files() {
    on_node(|node| async move {
        let outcome = node
            .run("head -c 100M /dev/zero > /tmp/file; echo $?; wc -c < /tmp/file")
            .await;
        assert!(outcome.output.contains("No space left on device"), "{}", outcome.output);
        assert!(outcome.output.ends_with("1\n16777216\n"), "{}", outcome.output);
        let mut plan = node.plan("i=0; while : > /tmp/$i; do i=$((i+1)); done 2>/dev/null; echo $i");
        plan.limits.scratch_inodes = 50;
        // The folder itself is one, and a shell stops at the first redirection that fails.
        assert_eq!(node.run_plan(plan).await.output, "");
        let mut plan = node.plan_for(&["/usr/bin/python3", "-I", "-S", "-c", FILES]);
        plan.limits.scratch_inodes = 50;
        assert_eq!(node.run_plan(plan).await.output, "49 No space left on device\n");
    });
}

const FILES: &str = "
count = 0
try:
    while True:
        open(f'/tmp/{count}', 'w').close()
        count += 1
except OSError as error:
    print(count, error.strerror)
";

fn descriptors_are_limited() {
    on_node(|node| async move {
        let program = "
import os, resource
held = []
try:
    while True: held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error:
    print(max(held) + 1, error.strerror)
print([resource.getrlimit(limit) for limit in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)])
try: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
except ValueError as error: print(error)
print(resource.getrlimit(resource.RLIMIT_FSIZE)[1] >> 20, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1])
";
        assert_eq!(
            node.python(program).await,
            "1024 Too many open files\n[(0, 0), (1024, 1024)]\nnot allowed to raise maximum limit\n64 65536\n"
        );
    });
}

fn processes_are_limited() {
    on_node(|node| async move {
        let program = "
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(1000)
        count += 1
except OSError as error:
    print(count, error.strerror)
";
        let mut plan = node.plan_for(&["/usr/bin/python3", "-I", "-S", "-c", program]);
        plan.limits.processes = 20;
        let outcome = node.start(plan).await.unwrap();
        let (line, _pipe) = read_line(outcome.output).await;
        let (count, words) = line.split_once(' ').unwrap();
        // The init and the program count.
        assert!((17..=19).contains(&count.parse::<u32>().unwrap()), "{line}");
        assert_eq!(words, "Resource temporarily unavailable");
        tokio::time::timeout(PATIENCE, outcome.sandbox.destroy()).await.unwrap();
    });
}

fn memory_is_measured() {
    on_node(|node| async move {
        let program = "
held = bytearray(b'x') * (32 << 20)
print('held', flush=True)
import time
time.sleep(1000)
";
        let started = node
            .start(node.plan_for(&["/usr/bin/python3", "-I", "-S", "-c", program]))
            .await
            .unwrap();
        let (line, _pipe) = read_line(started.output).await;
        assert_eq!(line, "held");
        let peak = started.sandbox.memory_peak();
        assert!((Mebibytes(32)..Mebibytes(64)).contains(&peak), "peak {peak}");
        tokio::time::timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
        assert!(started.sandbox.memory_peak() >= peak, "it is known afterwards, too");
    });
}
