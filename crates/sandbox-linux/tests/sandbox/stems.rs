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
    a_zygote_forks_into_each_cell,
    a_forked_process_is_as_confined_as_any_program,
    forked_processes_share_no_randomness,
    how_a_forked_process_ends_is_told,
    a_zygote_that_does_not_boot_is_done_without,
    a_zygote_goes_when_its_cells_are_not_expected,
];

/// A runtime for shell scripts that is written in Python.
const RUNTIME: &str = r"
import os, random, socket, sys
library = os.environ.get('SONAGI_ZYGOTE')
if library:
    import ctypes
    names = ('PyOS_BeforeFork', 'PyOS_AfterFork_Parent', 'PyOS_AfterFork_Child')
    hooks = [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p) for name in names]
    if ctypes.PyDLL(library).sonagi_branch(*hooks): os._exit(1)
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
os.environb[b'BOOTED'] = b'forked' if library else b'yes'
if arguments[0] == b'/here':
    exec(arguments[1])
    sys.stdout.flush()
    os._exit(0)
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
        forks: false,
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
                      grep -c . /proc/self/mountinfo; touch /x /var/task/x; seen=$(ls /proc); echo \"$seen\" | grep -c '^[0-9]'";
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

/// A plan whose stem comes from a zygote, for a Python program that runs in it without another exec.
fn forked(node: &Node, program: &str) -> LaunchPlan {
    let mut plan = booted(node, "");
    plan.program = vec!["/here".to_owned(), program.to_owned()];
    plan.cell.stem.as_mut().unwrap().forks = true;
    plan
}

/// Waits until a cell is ready whose process was forked: the first ones may be executed, for the zygote is still booting.
async fn one_is_forked(node: &Node, plan: &LaunchPlan) {
    until("a zygote is ready", || !zygotes_of(node).is_empty()).await;
    loop {
        node.sandbox.expect(&plan.cell, 1);
        one_is_ready(node).await;
        let mut ask = plan.clone();
        ask.program[1] = "print(os.environ['BOOTED'], flush=True)".to_owned();
        if node.run_plan(ask).await.output == "forked\n" {
            break;
        }
    }
    one_is_ready(node).await;
}

fn zygotes_of(node: &Node) -> Vec<std::path::PathBuf> {
    crate::leftovers::groups_named(node, "zygote-")
}

fn a_zygote_forks_into_each_cell() {
    on_node(|node| async move {
        let program = "print(os.environ['BOOTED'], os.getpid(), os.getcwd(), 'RUNTIME' in os.environ, flush=True)\n\
                       channel.sendall(b'hello')";
        let plan = forked(&node, program);
        node.sandbox.expect(&plan.cell, 1);
        one_is_forked(&node, &plan).await;
        for _ in 0..3 {
            one_is_ready(&node).await;
            let started = node.start(plan.clone()).await.unwrap();
            let mut text = String::new();
            blocking(started.channel).read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
            let output = read_all(started.output).await;
            assert!(
                output.starts_with("forked ") && output.ends_with(" /var/task False\n"),
                "{output}"
            );
            assert_eq!(started.sandbox.exited().await, Exit::Code(0));
            started.sandbox.destroy().await;
        }
    });
}

fn a_forked_process_is_as_confined_as_any_program() {
    on_node(|node| async move {
        let program = r"
import ctypes
status = open('/proc/self/status').read().splitlines()
wanted = ('Cap', 'NoNewPrivs', 'Seccomp', 'Groups', 'Uid', 'Gid', 'SigBlk')
for line in status:
    if line.startswith(wanted): print(line)
import resource
print([resource.getrlimit(n) for n in (resource.RLIMIT_CORE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, 8)])
for name in sorted(os.listdir('/proc/self/ns')):
    inside = os.readlink('/proc/self/ns/' + name)
    print(name, inside == os.readlink('/proc/%d/ns/%s' % (os.getpid(), name)))
folder = os.open('/proc/self/fd', 0)
print(sorted(int(n) for n in os.listdir('/proc/self/fd') if int(n) < folder))
print([os.readlink('/proc/self/fd/%d' % n).split(':')[0] for n in (0, 1, 2, 3)])
print(open('/proc/self/cgroup').read())
print(len(open('/proc/self/mountinfo').readlines()), os.getuid(), os.getgid(), os.getsid(0) == os.getpid())
print([int(n) for n in os.listdir('/proc') if n.isdigit()] == [os.getpid()])
for path in ('/x', '/var/task/x', '/usr/x'):
    try: open(path, 'w')
    except OSError as error: print(path, error.strerror)
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in (('mount', (b'none', b'/tmp', b'tmpfs', 0, None)), ('unshare', (0x10000000,)), ('chroot', (b'/tmp',)),
                        ('sethostname', (b'x', 1)), ('setns', (os.open('/proc/self/ns/mnt', 0), 0)), ('kill', (1, 9))):
    print(name, getattr(libc, name)(*arguments), os.strerror(ctypes.get_errno()))
print(os.listdir('/tmp'), socket.if_nameindex(), os.umask(0))
open('/proc/self/environ').read(); open('/proc/self/mem').close(); open('/proc/self/oom_score_adj').read()
";
        let plan = forked(&node, program);
        let mut executed = plan.clone();
        executed.cell.stem.as_mut().unwrap().forks = false;
        let mut outputs = Vec::new();
        for plan in [plan, executed] {
            node.sandbox.expect(&plan.cell, 1);
            if plan.cell.stem.as_ref().is_some_and(|stem| stem.forks) {
                one_is_forked(&node, &plan).await;
            }
            one_is_ready(&node).await;
            outputs.push(node.run_plan(plan.clone()).await.output);
            node.sandbox.expect(&plan.cell, 0);
            until("no cell is ready", || node.sandbox.ready_cells() == 0).await;
        }
        assert_eq!(outputs[0], outputs[1]);
        assert!(
            outputs[0].contains("Seccomp:\t2") && outputs[0].contains("CapBnd:\t0000000000000000"),
            "{}",
            outputs[0]
        );
        assert!(
            outputs[0].contains("unshare -1 Operation not permitted"),
            "{}",
            outputs[0]
        );
    });
}

fn forked_processes_share_no_randomness() {
    on_node(|node| async move {
        let program = "import uuid; print(random.random(), os.urandom(8), uuid.uuid4(), os.getpid(), flush=True)";
        let plan = forked(&node, program);
        node.sandbox.expect(&plan.cell, 1);
        one_is_forked(&node, &plan).await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..4 {
            one_is_ready(&node).await;
            let output = node.run_plan(plan.clone()).await.output;
            for part in output.split_whitespace().take(3) {
                assert!(seen.insert(part.to_owned()), "{part} twice");
            }
        }
    });
}

fn how_a_forked_process_ends_is_told() {
    on_node(|node| async move {
        let plan = forked(&node, "os._exit(7)");
        node.sandbox.expect(&plan.cell, 1);
        one_is_forked(&node, &plan).await;
        assert_eq!(node.run_plan(plan).await.exit, Exit::Code(7));
        let killed = forked(&node, "os.kill(os.getpid(), 9)");
        one_is_ready(&node).await;
        assert_eq!(node.run_plan(killed).await.exit, Exit::Signal(9));
        // What it has left behind goes with it, and a forked one can be ended from outside.
        let waiting = forked(
            &node,
            "\nif os.fork() == 0:\n while True: pass\nchannel.sendall(b'x')\nwhile True: pass",
        );
        one_is_ready(&node).await;
        let started = node.start(waiting).await.unwrap();
        let mut byte = [0];
        blocking(started.channel).read_exact(&mut byte).unwrap();
        started.sandbox.freeze().unwrap();
        started.sandbox.destroy().await;
        assert_eq!(started.sandbox.exited().await, Exit::Reclaimed);
        let greedy = forked(&node, "held = []\nwhile True: held.append(bytearray(b'x') * (4 << 20))");
        one_is_ready(&node).await;
        assert_eq!(node.run_plan(greedy).await.exit, Exit::OutOfMemory);
    });
}

fn a_zygote_that_does_not_boot_is_done_without() {
    on_node(|node| async move {
        let mut plan = forked(&node, "print(os.environ['BOOTED'], flush=True)");
        let stem = plan.cell.stem.as_mut().unwrap();
        stem.program[4] = format!("import os\nif 'SONAGI_ZYGOTE' in os.environ: os._exit(1)\n{RUNTIME}");
        node.sandbox.expect(&plan.cell, 1);
        for _ in 0..3 {
            one_is_ready(&node).await;
            assert_eq!(node.run_plan(plan.clone()).await.output, "yes\n");
        }
        until("no zygote is left", || zygotes_of(&node).is_empty()).await;
    });
}

fn a_zygote_goes_when_its_cells_are_not_expected() {
    on_node(|node| async move {
        let plan = forked(&node, "pass");
        node.sandbox.expect(&plan.cell, 1);
        one_is_forked(&node, &plan).await;
        node.sandbox.expect(&plan.cell, 0);
        until("the zygote is gone", || zygotes_of(&node).is_empty()).await;
    });
}
