//! The system that every sandbox with a borrowed runtime sees under `/usr`: the dynamic loader, common libraries, a shell
//! with a few tools, time zones and certificates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::libraries::{Libraries, Library};
use super::tree::Plan;

/// Libraries that programs load by name while they run, or that bootstraps are commonly linked against.
const LIBRARIES: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libresolv.so.2",
    "libnss_files.so.2",
    "libnss_dns.so.2",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libatomic.so.1",
    "libgomp.so.1",
    "libssl.so.3",
    "libcrypto.so.3",
    "libssl.so.1.1",
    "libcrypto.so.1.1",
    "libz.so.1",
    "libcrypt.so.1",
];

/// Programs that shell bootstraps use. No `su`, no `mount`, no compiler.
const TOOLS: &[&str] = &[
    "awk",
    "base64",
    "basename",
    "bash",
    "cat",
    "chmod",
    "cp",
    "curl",
    "cut",
    "date",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "gzip",
    "head",
    "hostname",
    "id",
    "jq",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "mv",
    "nproc",
    "od",
    "printenv",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "uname",
    "uniq",
    "wc",
    "which",
    "xargs",
];

/// Places of the certificate bundle, in the order tried. Sources: the packages `ca-certificates` of Debian, Fedora,
/// Alpine and openSUSE.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// The one place where programs find the bundle inside.
const BUNDLE_INSIDE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where a path of the host is in the tree for `/usr`: `/bin`, `/lib` and the like are links into it inside. `None` for
/// paths elsewhere.
pub(super) fn in_usr(path: &Path) -> Option<PathBuf> {
    if let Ok(below) = path.strip_prefix("/usr") {
        return Some(below.to_path_buf());
    }
    let top = path.strip_prefix("/").ok()?;
    ["bin", "sbin", "lib", "lib64"]
        .iter()
        .any(|name| top.starts_with(name))
        .then(|| top.to_path_buf())
}

/// Adds the shell, its tools and everything beside libraries to the trees for `/usr` and for `/etc/ssl`.
pub(super) fn add_system(usr: &mut Plan, ssl: &mut Plan) -> io::Result<()> {
    for tool in TOOLS {
        if let Some(path) = ["/usr/bin", "/bin"]
            .iter()
            .map(|bin| Path::new(bin).join(tool))
            .find(|path| path.is_file())
        {
            add_named(usr, &path)?;
        }
    }
    let zones = Path::new("/usr/share/zoneinfo");
    if zones.is_dir() {
        // `posix` and `right` repeat all of it.
        let wanted = |path: &Path| !path.starts_with("posix") && !path.starts_with("right");
        usr.tree(zones, Path::new("share/zoneinfo"), &wanted)?;
    }
    // The only locale that the C library does not have built in before 2.35.
    let locale = Path::new("/usr/lib/locale/C.utf8");
    if locale.is_dir() {
        usr.tree(locale, Path::new("lib/locale/C.utf8"), &|_| true)?;
    }
    add_certificates(usr, ssl)
}

fn add_certificates(usr: &mut Plan, ssl: &mut Plan) -> io::Result<()> {
    ssl.folder("certs");
    if let Some(bundle) = BUNDLES.iter().map(Path::new).find(|path| path.is_file()) {
        ssl.file(bundle, "certs/ca-certificates.crt")?;
        // Where OpenSSL looks, as Debian builds it.
        usr.link("lib/ssl/cert.pem", BUNDLE_INSIDE);
        ssl.link("cert.pem", BUNDLE_INSIDE);
        // Its name on Fedora.
        ssl.link("certs/ca-bundle.crt", "ca-certificates.crt");
    }
    let configuration = Path::new("/etc/ssl/openssl.cnf");
    if configuration.is_file() {
        ssl.file(configuration, "openssl.cnf")?;
        usr.link("lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf");
    }
    usr.link("lib/ssl/certs", "/etc/ssl/certs");
    Ok(())
}

/// Adds a program of the host under its own name; a link becomes a link to a copy of what it leads to.
pub(super) fn add_named(usr: &mut Plan, path: &Path) -> io::Result<()> {
    let real = fs::canonicalize(path)?;
    let (Some(inside), real_inside) = (in_usr(path), in_usr(&real)) else {
        return Ok(());
    };
    match real_inside {
        Some(real_inside) if real_inside != inside => {
            usr.link(inside, Path::new("/usr").join(&real_inside));
            usr.file(&real, real_inside)
        }
        _ => usr.file(&real, inside),
    }
}

/// Adds the libraries that everything in the tree needs, and those that may be loaded later. `foreign` says which are
/// part of a tree of their own. Returns the names that this host does not have.
pub(super) fn add_libraries(
    usr: &mut Plan,
    libraries: &Libraries,
    needed: impl IntoIterator<Item = Library>,
    foreign: &dyn Fn(&Path) -> bool,
) -> io::Result<Vec<String>> {
    let common: Vec<_> = LIBRARIES
        .iter()
        .filter_map(|name| libraries.find(name, &[], Path::new("/")))
        .collect();
    let usual = common
        .first()
        .map_or_else(|| PathBuf::from("/usr/lib"), |library| library.folder.clone());
    let files: Vec<PathBuf> = usr
        .sources()
        .map(Path::to_path_buf)
        .chain(common.iter().map(Library::path))
        .collect();
    let (found, missing) = libraries.closure(&files, &[]);
    for library in found.into_iter().chain(common).chain(needed) {
        let path = library.path();
        if foreign(&path) {
            continue;
        }
        // One from a folder that is not under `/usr` goes where the loader looks for all of them.
        let inside = in_usr(&path).or_else(|| in_usr(&usual.join(&library.name)));
        let Some(inside) = inside else { continue };
        if !usr.has(&inside) {
            usr.file(&path, inside)?;
        }
    }
    // Modules of OpenSSL, loaded by name.
    for folder in libraries.folders() {
        let modules = folder.join("ossl-modules");
        if let (true, Some(inside)) = (modules.is_dir(), in_usr(&modules)) {
            usr.tree(&modules, &inside, &|_| true)?;
        }
    }
    Ok(missing.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_under_usr() {
        for (path, expected) in [
            ("/usr/bin/sh", Some("bin/sh")),
            ("/bin/sh", Some("bin/sh")),
            ("/lib64/ld-linux-x86-64.so.2", Some("lib64/ld-linux-x86-64.so.2")),
            (
                "/lib/x86_64-linux-gnu/libc.so.6",
                Some("lib/x86_64-linux-gnu/libc.so.6"),
            ),
            ("/usr/local/lib/libx.so", Some("local/lib/libx.so")),
            ("/library/x", None),
            ("/opt/x/lib/libx.so", None),
            ("/home/dev/.pyenv", None),
        ] {
            assert_eq!(in_usr(Path::new(path)).as_deref(), expected.map(Path::new), "{path}");
        }
    }
}
