//! Links that download code.

use bytes::Bytes;

use crate::clients;
use crate::native::deploy;
use crate::world::{World, archive, request};

const SOURCE: &str = "def handler(e, c): return 1";

/// The link for a function's code, without its address, as the real client gets it.
async fn link(world: &World) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("link");
    clients::own("link.py", &[("OUT", file.display().to_string())], world).await;
    let link = std::fs::read_to_string(file).expect("the link");
    link.strip_prefix(&world.endpoint())
        .expect("a link to the address that was asked")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_works_as_it_is_and_not_otherwise() {
    let world = World::start().await;
    let deployed = deploy(&world, "f", SOURCE).await;
    let link = link(&world).await;
    let get = async |path: &str| world.send(request("GET", "localhost", path, &[], b"")).await;
    let answer = get(&link).await;
    assert_eq!(
        (answer.status().as_u16(), answer.body()),
        (200, &archive("app.py", SOURCE))
    );
    assert_eq!(answer.headers()["content-type"], "application/zip");
    let last = if link.ends_with('0') { "1" } else { "0" };
    let altered = [
        format!("{}{last}", &link[..link.len() - 1]),
        link.replace("Expires=", "Expires=9"),
        link.replace("/rev_", "/rev_0"),
        link.split('?').next().unwrap().to_owned(),
    ];
    for path in altered {
        assert_eq!(get(&path).await.status().as_u16(), 403, "{path}");
    }
    let posted = world.send(request("POST", "localhost", &link, &[], b"")).await;
    assert_eq!(posted.status().as_u16(), 404);
    world.disk.artifacts.damage(deployed.digest);
    let damaged = get(&link).await;
    assert_eq!(
        (damaged.status().as_u16(), &damaged.headers()["x-amzn-errortype"]),
        (502, &"InvalidZipFileException".parse().unwrap())
    );
    assert!(!damaged.body().windows(2).any(|pair| pair == Bytes::from_static(b"PK")));
}
