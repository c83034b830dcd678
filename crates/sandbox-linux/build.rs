//! Builds what runs inside cells: the init and the supervisor, static programs, and the library of zygotes, all without a
//! standard library and for the same target as everything else, so that no further target has to be installed. `spawner/workshop.rs` embeds
//! them.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/init");
    println!("cargo::rerun-if-changed=build.rs");
    // At a fixed address nothing has to be relocated at start.
    for (name, source) in [("init", "src/init/main.rs"), ("supervisor", "src/init/supervise.rs")] {
        build(
            name,
            source,
            "bin",
            &["relocation-model=static", "target-feature=+crt-static"],
            &["-nostartfiles", "-nostdlib", "-static", "-no-pie"],
        );
    }
    build(
        "zygote",
        "src/init/zygote.rs",
        "cdylib",
        &[],
        &["-nostartfiles", "-nostdlib"],
    );
}

fn build(name: &str, source: &str, kind: &str, options: &[&str], linker: &[&str]) {
    let variable = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let out = PathBuf::from(variable("OUT_DIR")).join(name);
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args([source, "--edition", "2024", "--crate-name", name, "--crate-type", kind])
        .args(["-D", "warnings"]);
    let common = ["opt-level=2", "panic=abort", "strip=symbols", "codegen-units=1"];
    for option in common.iter().chain(options) {
        rustc.args(["-C", option]);
    }
    for argument in linker.iter().chain(&["-Wl,--build-id=none"]) {
        rustc.arg(format!("-Clink-arg={argument}"));
    }
    let status = rustc
        .arg("--target")
        .arg(variable("TARGET"))
        .arg("-o")
        .arg(&out)
        .status()
        .expect("rustc can be executed");
    assert!(status.success(), "the {name} does not build");
}
