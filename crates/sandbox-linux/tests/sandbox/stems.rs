//! Channels, and runtimes that are booted ahead of demand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use sonagi_model::Exit;
use sonagi_ports::{LaunchPlan, Sandbox, Stem};

use crate::node::{Node, on_node, read_all, until};

crate::tests![
    a_channel_connects_program_and_platform,
    a_booted_stem_runs_one_launch,
    a_booted_stem_is_as_confined_as_any_program,
    a_launch_without_a_ready_stem_executes_its_program,
    a_stem_that_does_not_boot_costs_no_start,
    a_stem_that_was_killed_is_not_used,
];

/// A runtime for shell scripts that is written in Python.
const RUNTIME: &str = r"
import os, socket
channel = socket.socket(fileno=3)
channel.sendall(b'R')
def take(count):
    data = b''
    while len(data) < count:
        part = channel.recv(count - len(data))
        if not part: os._exit(0)
        data += part
    return data
strings = take(int.from_bytes(take(4), 'little')).split(b'\0')[:-1]
os.chdir(strings[0])
count = int(strings[1])
arguments, variables = strings[2:2 + count], strings[2 + count:]
os.environb.clear()
os.environb.update(variable.split(b'=', 1) for variable in variables)
os.set_inheritable(3, True)
os.environb[b'BOOTED'] = b'yes'
os.execv(arguments[0], arguments)
";

fn booted(node: &Node, script: &str) -> LaunchPlan {
    let mut plan = node.plan(script);
    plan.channel = true;
    plan.cell.stem = Some(Stem {
        program: ["/usr/bin/python3", "-I", "-S", "-c", RUNTIME]
            .map(str::to_owned)
            .to_vec(),
        environment: vec![("RUNTIME".to_owned(), "python".to_owned())],
    });
    plan
}

fn blocking(channel: Option<UnixStream>) -> UnixStream {
    let channel = channel.unwrap();
    channel.set_nonblocking(false).unwrap();
    channel.set_read_timeout(Some(crate::node::PATIENCE)).unwrap();
    channel
}

async fn one_is_ready(node: &Node) {
    until("a stem is ready", || node.sandbox.ready_cells() == 1).await;
}

fn a_channel_connects_program_and_platform() {
    on_node(|node| async move {
        let mut plan = node.plan("read line <&3; echo \"got $line\" >&3; cat <&3 >&3");
        plan.channel = true;
        let started = node.start(plan).await.unwrap();
        let mut channel = blocking(started.channel);
        channel.write_all(b"one\ntwo").unwrap();
        channel.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        channel.read_to_string(&mut text).unwrap();
        assert_eq!(text, "got one\ntwo");
        started.sandbox.destroy().await;
        let without = node.output("ls /proc/self/fd | tr '\\n' ' '").await;
        assert_eq!(without, "0 1 2 3 ", "3 is the folder that ls reads");
    });
}

fn a_booted_stem_runs_one_launch() {
    on_node(|node| async move {
        let mut plan = booted(&node, "echo $0 $A $RUNTIME $BOOTED; pwd; echo hello >&3");
        plan.program.push("zero".to_owned());
        plan.environment = vec![("A".to_owned(), "b=c".to_owned())];
        node.sandbox.expect(&plan.cell, 1);
        for _ in 0..2 {
            one_is_ready(&node).await;
            assert_eq!(node.sandbox.alive(), 0, "a stem is no instance");
            let started = node.start(plan.clone()).await.unwrap();
            let mut text = String::new();
            blocking(started.channel).read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello\n");
            assert_eq!(read_all(started.output).await, "zero b=c yes\n/var/task\n");
            assert_eq!(started.sandbox.exited().await, Exit::Code(0));
            started.sandbox.destroy().await;
        }
    });
}

fn a_booted_stem_is_as_confined_as_any_program() {
    on_node(|node| async move {
        let script = "grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid|NSpid)' /proc/self/status; ulimit -a; \
                      ls -l /proc/self/ns | sed 's/.*-> //; s/:.*//'; ls /proc/self/fd; cat /proc/self/cgroup; \
                      grep -c . /proc/self/mountinfo; touch /x /var/task/x; ls /proc | grep -c '^[0-9]'";
        let plan = booted(&node, script);
        let mut plain = node.plan(script);
        plain.channel = true;
        node.sandbox.expect(&plan.cell, 1);
        one_is_ready(&node).await;
        let started = node.start(plan).await.unwrap();
        let booted = read_all(started.output).await;
        started.sandbox.destroy().await;
        let executed = node.run_plan(plain).await.output;
        let compared = |text: &str| -> Vec<String> {
            // The size of files is bounded by the scratch space in the one and by the process in the other as well.
            let lines = text.lines().filter(|line| !line.starts_with("file(blocks)"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(compared(&booted), compared(&executed));
        assert!(
            booted.contains("Seccomp:\t2") && booted.contains("CapEff:\t0000000000000000"),
            "{booted}"
        );
    });
}

fn a_launch_without_a_ready_stem_executes_its_program() {
    on_node(|node| async move {
        let outcome = node.run_plan(booted(&node, "echo ${BOOTED:-no}; echo x >&3")).await;
        assert_eq!(outcome.output, "no\n");
    });
}

fn a_stem_that_does_not_boot_costs_no_start() {
    on_node(|node| async move {
        let mut plan = booted(&node, "echo fine");
        plan.cell.stem.as_mut().unwrap().program =
            ["/bin/sh", "-c", "echo broken >&2; exit 3"].map(str::to_owned).to_vec();
        node.sandbox.expect(&plan.cell, 1);
        assert_eq!(node.run_plan(plan.clone()).await.output, "fine\n");
        assert_eq!(node.sandbox.ready_cells(), 0);
        node.sandbox.expect(&plan.cell, 0);
        until("nothing of it is left", || crate::leftovers::cells_of(&node).is_empty()).await;
    });
}

fn a_stem_that_was_killed_is_not_used() {
    on_node(|node| async move {
        let plan = booted(&node, "echo $BOOTED");
        node.sandbox.expect(&plan.cell, 1);
        one_is_ready(&node).await;
        let members = || -> Vec<i32> {
            let groups = crate::leftovers::groups_of(&node).into_iter();
            let read =
                |group: std::path::PathBuf| std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            groups
                .map(read)
                .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
                .collect()
        };
        let name = |member: &i32| std::fs::read_to_string(format!("/proc/{member}/comm")).unwrap_or_default();
        let stem = members()
            .into_iter()
            .find(|member| name(member).starts_with("python"))
            .unwrap();
        let pid = rustix::process::Pid::from_raw(stem).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        until("its init has gone as well", || members().is_empty()).await;
        let used = node.run_plan(plan).await.output;
        assert!(used == "\n" || used == "yes\n", "a fresh one or none at all: {used:?}");
    });
}
