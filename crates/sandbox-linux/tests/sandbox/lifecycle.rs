//! Starting, listening, freezing, ending.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sonagi_model::Exit;
use sonagi_ports::suite::sandbox::{Program, check};
use sonagi_ports::{Sandbox, SandboxError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::node::{Outcome, PATIENCE, on_node, read_all, read_line, until};

crate::tests![
    the_suite_of_the_port,
    a_script_runs,
    failures_to_execute_are_told,
    listeners_are_inside_and_served_outside,
    a_frozen_instance_does_nothing,
    many_start_at_once,
    cells_are_kept_ready,
];

fn the_suite_of_the_port() {
    on_node(|node| async move {
        let plan = |program| {
            let mut plan = match program {
                Program::PrintsAndSleeps => node.plan("echo hello; exec sleep 1000"),
                Program::ExitsWith7 => node.plan("exit 7"),
                Program::KillsItself => node.plan("kill -9 $$"),
                Program::Missing => node.plan_for(&["/missing"]),
            };
            plan.listeners = vec![9001];
            plan.channel = true;
            plan
        };
        check(&*node.sandbox, &plan).await;
    });
}

fn a_script_runs() {
    on_node(|node| async move {
        let outcome = node.run("echo out; echo err >&2; exit 3").await;
        assert_eq!(
            outcome,
            Outcome {
                exit: Exit::Code(3),
                output: "out\nerr\n".to_owned()
            }
        );
        let mut plan =
            node.plan("echo \"$0 $1 $A\"; env | wc -l; pwd; echo again >/dev/stdout; read x || echo no input");
        plan.program.extend(["zero".to_owned(), "one two".to_owned()]);
        plan.environment = vec![("A".to_owned(), "b=\"c\"\nd".to_owned())];
        plan.working_directory = "/tmp".to_owned();
        assert_eq!(
            node.run_plan(plan).await.output,
            "zero one two b=\"c\"\nd\n3\n/tmp\nagain\nno input\n"
        );
        assert_eq!(node.run("kill -TERM $$").await.exit, Exit::Signal(15));
    });
}

fn failures_to_execute_are_told() {
    on_node(|node| async move {
        fs::write(node.code.join("text"), "no program").unwrap();
        fs::write(node.code.join("nonsense"), [1, 2, 3, 4]).unwrap();
        fs::set_permissions(node.code.join("nonsense"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut lost = node.plan("true");
        lost.working_directory = "/var/lost".to_owned();
        for (plan, words) in [
            (node.plan_for(&["/var/task/missing"]), "No such file or directory"),
            (node.plan_for(&["/var/task/text"]), "Permission denied"),
            (node.plan_for(&["/var/task/nonsense"]), "Exec format error"),
            (node.plan_for(&["relative"]), "not an absolute path"),
            (lost, "working directory: No such file or directory"),
        ] {
            let name = plan.program[0].clone();
            match node.start(plan).await {
                Err(SandboxError::Program { program, reason }) => {
                    assert_eq!((program.as_str(), reason.as_str()), (name.as_str(), words));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        let mut plan = node.plan("true");
        plan.code.source = node.folder.path().join("missing");
        let refused = node.start(plan).await;
        assert!(
            matches!(
                refused,
                Err(SandboxError::Host {
                    action: "open the code tree",
                    ..
                })
            ),
            "{refused:?}"
        );
        let mut plan = node.plan("true");
        plan.cell.mounts[0].source = node.folder.path().join("missing");
        let refused = node.start(plan).await.unwrap_err().to_string();
        assert_eq!(refused, "show the runtime: /usr: No such file or directory");
        until("nothing alive", || node.sandbox.alive() == 0).await;
    });
}

fn listeners_are_inside_and_served_outside() {
    on_node(|node| async move {
        let mut plan = node.plan_for(&[
            "/usr/bin/python3",
            "-I",
            "-S",
            "-c",
            "import socket\nfor port in (9001, 80):\n s = socket.create_connection(('127.0.0.1', port), 10)\n \
             s.sendall(b'ping')\n print(s.recv(9).decode())",
        ]);
        plan.listeners = vec![9001, 80];
        let started = node.start(plan).await.unwrap();
        assert_eq!(started.listeners.len(), 2);
        let serve = async {
            for (number, listener) in started.listeners.into_iter().enumerate() {
                assert_eq!(listener.local_addr().unwrap().port(), [9001, 80][number]);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut ping = [0; 4];
                stream.read_exact(&mut ping).await.unwrap();
                stream
                    .write_all(format!("{number}:{}", String::from_utf8_lossy(&ping)).as_bytes())
                    .await
                    .unwrap();
            }
        };
        timeout(PATIENCE, serve).await.unwrap();
        assert_eq!(read_all(started.output).await, "0:ping\n1:ping\n");
        started.sandbox.destroy().await;
        // The host's own loopback has no such listener.
        assert!(tokio::net::TcpStream::connect("127.0.0.1:9001").await.is_err());
    });
}

fn a_frozen_instance_does_nothing() {
    on_node(|node| async move {
        let started = node.start(node.plan("echo ready; while :; do :; done")).await.unwrap();
        let (line, _pipe) = read_line(started.output).await;
        assert_eq!(line, "ready");
        started.sandbox.freeze().unwrap();
        // Either version tells the time used, in a file of its own.
        let file = crate::leftovers::groups_of(&node)
            .into_iter()
            .flat_map(|path| [path.join("cpuacct.usage"), path.join("cpu.stat")])
            .find(|path| {
                fs::read_to_string(path)
                    .is_ok_and(|text| path.ends_with("cpuacct.usage") || text.contains("usage_usec"))
            })
            .unwrap();
        let used = || fs::read_to_string(&file).unwrap();
        // On its way to the freezer it is still charged for some microseconds.
        let mut before = String::new();
        until("it stands still", || std::mem::replace(&mut before, used()) == used()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(used(), before, "a frozen instance used the processor");
        started.sandbox.thaw().unwrap();
        until("it runs again", || used() != before).await;
        started.sandbox.freeze().unwrap();
        timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
        assert_eq!(
            timeout(PATIENCE, started.sandbox.exited()).await.unwrap(),
            Exit::Reclaimed
        );
    });
}

fn many_start_at_once() {
    on_node(|node| async move {
        let starts = (0..24).map(|number| {
            let node = &node;
            async move { node.run(&format!("echo {number}")).await.output }
        });
        let outputs = futures_util::future::join_all(starts).await;
        let expected: Vec<_> = (0..24).map(|number| format!("{number}\n")).collect();
        assert_eq!(outputs, expected);
        assert_eq!(node.sandbox.alive(), 0);
    });
}

fn cells_are_kept_ready() {
    on_node(|node| async move {
        let cells = || crate::leftovers::cells_of(&node).len();
        let ready = |count| (node.sandbox.ready_cells(), cells()) == (count, count);
        let kind = node.plan("true").cell;
        node.sandbox.expect(&kind, 2);
        until("two cells are ready", || ready(2)).await;
        assert_eq!(node.sandbox.alive(), 0, "an empty cell is no instance");
        assert_eq!(node.output("echo used").await, "used\n");
        until("the one used is replaced", || ready(2)).await;
        node.sandbox.expect(&kind, 100);
        until("the bound holds", || ready(8)).await;
        node.sandbox.expect(&kind, 0);
        until("what is not expected any more goes", || ready(0)).await;
        node.sandbox.expect(&kind, 3);
        until("three are ready for the end", || ready(3)).await;
    });
}
