//! Builds the init of a cell: a static program without a standard library, for the same target as everything else, so
//! that no further target has to be installed. The result is embedded by `src/spawner/init.rs`.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/init");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let out = PathBuf::from(variable("OUT_DIR")).join("init");
    let status = Command::new(variable("RUSTC"))
        .args([
            "src/init/main.rs",
            "--edition",
            "2024",
            "--crate-name",
            "init",
            "--crate-type",
            "bin",
        ])
        .args(["-D", "warnings"])
        .args([
            "-C",
            "opt-level=2",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
            "-C",
            "codegen-units=1",
        ])
        // At a fixed address nothing has to be relocated at start.
        .args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"])
        .args(
            [
                "-nostartfiles",
                "-nostdlib",
                "-static",
                "-no-pie",
                "-Wl,--build-id=none",
            ]
            .map(|arg| format!("-Clink-arg={arg}")),
        )
        .arg("--target")
        .arg(variable("TARGET"))
        .arg("-o")
        .arg(&out)
        .status()
        .expect("rustc can be executed");
    assert!(status.success(), "the init does not build");
}
