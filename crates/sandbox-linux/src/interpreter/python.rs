//! What of a Python installation goes into a sandbox.

use std::path::Path;

/// Folders of the standard library that functions do without: the host's packages, tests, programs with windows, and
/// what builds extensions.
const LEFT_OUT: &[&str] = &[
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "tkinter",
    "ensurepip",
];

/// Extension modules that are left out with the libraries that only they need.
const MODULES_LEFT_OUT: &[&str] = &[
    "_tkinter.",
    "nis.",
    "_ctypes_test.",
    "_testcapi.",
    "_testinternalcapi.",
    "_testbuffer.",
    "_xxtestfuzz.",
    "xxlimited",
];

/// Whether a file or folder of the standard library, by its path in it, is wanted.
pub(super) fn wanted(path: &Path) -> bool {
    let folders_wanted = path.components().all(|part| {
        let part = part.as_os_str().to_str().unwrap_or_default();
        !LEFT_OUT.contains(&part) && !part.starts_with("config-3")
    });
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    folders_wanted
        // Set up by distributions for their own packages.
        && name != "sitecustomize.py"
        && name != "EXTERNALLY-MANAGED"
        // Compiled for levels of optimization that nobody asks for.
        && !name.ends_with(".opt-1.pyc")
        && !name.ends_with(".opt-2.pyc")
        && !MODULES_LEFT_OUT.iter().any(|module| name.starts_with(module) && name.ends_with(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_get_the_library_and_not_the_packages_of_the_host() {
        for (path, expected) in [
            ("json/decoder.py", true),
            ("json/__pycache__/decoder.cpython-311.pyc", true),
            ("json/__pycache__/decoder.cpython-311.opt-1.pyc", false),
            ("site-packages", false),
            ("site-packages/pip/__init__.py", false),
            ("test/test_os.py", false),
            ("unittest/case.py", true),
            ("unittest/test/x.py", false),
            ("config-3.11-x86_64-linux-gnu/Makefile", false),
            ("configparser.py", true),
            ("lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", true),
            ("lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so", false),
            ("sitecustomize.py", false),
        ] {
            assert_eq!(wanted(Path::new(path)), expected, "{path}");
        }
    }
}
