//! Everything is there after a restart: the surface keeps nothing that is not stored.

use sonagi_model::Namespace;
use sonagi_ports::Adapter;

use crate::native::deploy;
use crate::world::{World, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_functions_and_urls_survive() {
    let world = World::start().await;
    deploy(&world, "f", "def handler(e, c): return 'here'").await;
    let space = Namespace::parse("aws/000000000000/us-east-1").unwrap();
    let (view, key, disk) = (
        world.aws.describe(&space, "f").unwrap(),
        world.aws.accounts()[0].key.clone(),
        world.disk.clone(),
    );
    drop(world);
    let world = World::with(disk, |_| {}).await;
    assert_eq!(world.aws.accounts()[0].key, key);
    let again = world.aws.describe(&space, "f").unwrap();
    assert_eq!((again.revision, &again.modified), (view.revision, &view.modified));
    let host = view.url.unwrap();
    let host = host.trim_start_matches("http://").split(':').next().unwrap();
    let answer = world.send(request("GET", host, "/", &[], b"")).await;
    assert_eq!(
        (answer.status().as_u16(), answer.body().as_ref()),
        (200, b"here".as_slice())
    );
    let told = world.engine.reserved.lock().clone();
    assert_eq!(told, [None], "the engine is told about every function at start");
}
