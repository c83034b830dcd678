//! The way in from inside an instance.

use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use sonagi_aws::InstanceFront;
use sonagi_model::InstanceId;
use sonagi_ports::Adapter;
use sonagi_wire::{HttpLimits, accept_loop};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients;
use crate::native::deploy;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_instances_own_key_opens() {
    let world = World::start().await;
    let deployed = deploy(&world, "callee", "def handler(e, c): return ['called', e]").await;
    let (instance, other) = (InstanceId::generate(), InstanceId::generate());
    let arn = |name: &str| format!("arn:aws:lambda:us-east-1:000000000000:function:{name}");
    let own = world
        .credentials
        .issue(instance, deployed.namespace.clone(), arn("caller"));
    let foreign = world.credentials.issue(other, deployed.namespace, arn("caller"));

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let inside = format!("http://{}", listener.local_addr().unwrap());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let front = Arc::clone(world.aws.front());
    let service = move |_, _| {
        let front = Arc::clone(&front);
        service_fn(move |request: Request<Incoming>| {
            let answer = front.serve(request, instance);
            async { Ok(answer.await) }
        })
    };
    tasks.spawn(accept_loop(
        listener,
        HttpLimits::default(),
        tasks.clone(),
        stop.clone(),
        service,
    ));
    let url = world
        .aws
        .describe(&world.aws.accounts()[0].namespace, "callee")
        .unwrap()
        .url
        .unwrap();
    let more = [
        ("INSIDE", inside),
        ("URL", url),
        ("OWN_KEY", own.access_key),
        ("OWN_SECRET", own.secret),
        ("OWN_TOKEN", own.token),
        ("FOREIGN_KEY", foreign.access_key),
        ("FOREIGN_SECRET", foreign.secret),
        ("FOREIGN_TOKEN", foreign.token),
    ];
    clients::own("door.py", &more, &world).await;
    stop.cancel();
}
