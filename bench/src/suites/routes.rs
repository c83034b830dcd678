//! The same echo through each provider's own route, credentials included: Lambda's function URL, OpenWhisk's blocking invoke,
//! Fn's invoke. Warm with one and sixteen connections, cold, and how much longer a warm call takes than one by a bare stub
//! that speaks the same contract to the same program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sonagi_testkit::{Platform, Project, Setup};
use tokio::time::Instant;

use super::{BODY, Context, Findings, MEMORY_MIB};
use crate::direct::{self, Direct, Route};
use crate::outside::{self, Code};
use crate::report::{Figure, Target};
use crate::stats::Samples;
use crate::stubs::{self, Language, Stub};

/// Rounds of warm figures; each measures all providers once, in turn.
const ROUNDS: u32 = 5;
/// How long one of them is measured in a round.
const TIME: Duration = Duration::from_secs(2);
/// Cold calls of each provider.
const COLD_ROUNDS: u32 = 20;
/// Cold calls that are thrown away first.
const WARM_UP: usize = 2;
/// Numbers of connections.
const CONNECTIONS: &[usize] = &[1, 16];
/// How much more than the best provider's the overhead of another one may be.
const SHARE: f64 = 1.3;
/// OpenWhisk's own limits are for a shared service: larger functions, and calls without end.
const LIMITS: &str = "openwhisk.memory-max-mb=1769,openwhisk.invocations-per-minute=100000000,openwhisk.concurrent=1000,fn.concurrent=1000";

/// As in the suite `cold`.
const AWSLAMBDARIC: &str =
    "#!/bin/sh\ncd /var/task\nexport PYTHONPATH=/var/task\nexec python3 -m awslambdaric \"$_HANDLER\"\n";

const LANGUAGES: [(Language, &str); 2] = [(Language::Python, "Python"), (Language::Node, "Node.js")];

/// Whose route it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    Lambda,
    Whisk,
    Fn,
    /// Lambda's, with the provider's own client of the Runtime API as a custom runtime.
    LambdaClient,
}

impl Provider {
    const fn title(self) -> &'static str {
        match self {
            Self::Lambda => "Lambda's function URL",
            Self::Whisk => "OpenWhisk's blocking invoke",
            Self::Fn => "Fn's invoke",
            Self::LambdaClient => "Lambda's function URL, awslambdaric",
        }
    }
}

const PROVIDERS: [Provider; 3] = [Provider::Lambda, Provider::Whisk, Provider::Fn];

/// A provider's route beside its stub.
struct Beside {
    provider: Provider,
    route: Route,
    stub: Stub,
}

pub async fn run(context: &Context) -> Result<Findings> {
    let platform = Setup::new().set("set", LIMITS).start().await;
    let mut findings = Findings::default();
    findings.notes.push(format!(
        "pinned: nothing; client, platform and stubs share all processors; functions have {MEMORY_MIB} MiB under all providers"
    ));
    for (language, title) in LANGUAGES {
        let interpreter = interpreter(&platform, language).await?;
        warm(context, &platform, (language, title), &mut findings).await?;
        overheads(context, &platform, (language, title), &interpreter, &mut findings).await?;
        cold(context, &platform, (language, title), &mut findings).await?;
    }
    Ok(findings)
}

// === functions

/// The echo of a provider. Code of its own for each name.
fn echo(provider: Provider, language: Language, name: &str) -> Project {
    match (provider, language) {
        (Provider::Lambda | Provider::LambdaClient, Language::Python) => Project::new(name).with(
            "app.py",
            format!("def handler(event, context):\n    return {{'statusCode': 200, 'body': event.get('body', '')}}\n# {name}\n"),
        ),
        (Provider::Lambda | Provider::LambdaClient, Language::Node) => Project::new(name).with(
            "index.mjs",
            format!("export const handler = async (event) => ({{ statusCode: 200, body: event.body ?? '' }});\n// {name}\n"),
        ),
        (Provider::Whisk, Language::Python) => {
            Project::new(name).with("__main__.py", format!("{}# {name}\n", whisk_source(language)))
        }
        (Provider::Whisk, Language::Node) => {
            Project::new(name).with("index.js", format!("{}exports.main = main;\n// {name}\n", whisk_source(language)))
        }
        (Provider::Fn, Language::Python) => Project::new(name)
            .with("func.yaml", func_yaml(name, "python3.11"))
            .with("func.py", format!("{}# {name}\n", fn_source(language)))
            .with("requirements.txt", "fdk\n"),
        (Provider::Fn, Language::Node) => Project::new(name)
            .with("func.yaml", func_yaml(name, "node20"))
            .with("func.js", format!("{}// {name}\n", fn_source(language)))
            .with("package.json", "{\"dependencies\": {\"@fnproject/fdk\": \"*\"}}"),
    }
}

const fn whisk_source(language: Language) -> &'static str {
    match language {
        Language::Python => "def main(args):\n    return args\n",
        Language::Node => "function main(args) { return args; }\n",
    }
}

const fn fn_source(language: Language) -> &'static str {
    match language {
        Language::Python => {
            "from fdk import response\n\
             def handler(ctx, data=None):\n    \
             return response.Response(ctx, response_data=data.getvalue(), headers={'Content-Type': 'application/json'})\n"
        }
        Language::Node => "const fdk = require('@fnproject/fdk');\nfdk.handle((input) => input);\n",
    }
}

fn func_yaml(name: &str, runtime: &str) -> String {
    format!("schema_version: 20180708\nname: {name}\nversion: 0.0.1\nruntime: {runtime}\n")
}

/// Deploys an echo and says where its provider's clients call it; and its name for the command line.
async fn deploy(platform: &Platform, provider: Provider, language: Language, name: &str) -> Result<(Route, String)> {
    let mut project = echo(provider, language, name);
    let mut more: Vec<&str> = match (provider, language) {
        (Provider::Lambda, Language::Python) => vec!["--runtime", "python3.11"],
        (Provider::Lambda, Language::Node) => vec!["--runtime", "nodejs20.x"],
        (Provider::Whisk, Language::Python) => vec!["--as", "openwhisk", "--runtime", "python:3.11"],
        (Provider::Whisk, Language::Node) => vec!["--as", "openwhisk", "--runtime", "nodejs:20"],
        (Provider::Fn, _) => vec!["--as", "fn"],
        (Provider::LambdaClient, _) => vec!["--runtime", "provided.al2023", "--handler", "app.handler"],
    };
    if provider == Provider::LambdaClient {
        let client = sonagi_testkit::checkout(".cache/python/awslambdaric");
        project = project.with("bootstrap", AWSLAMBDARIC).with_copy(&client, "");
        project.executable("bootstrap");
    }
    let mut arguments = vec!["deploy", project.as_str(), "--memory", MEMORY_MIB];
    arguments.append(&mut more);
    let deployed = platform.cli().json(&arguments).await;
    let full = deployed["name"].as_str().context("no name")?.to_owned();
    let mut route = Route {
        address: format!("127.0.0.1:{}", platform.port()),
        host: format!("127.0.0.1:{}", platform.port()),
        path: String::new(),
        headers: Vec::new(),
        body: Bytes::from_static(BODY.as_bytes()),
    };
    match provider {
        Provider::Lambda | Provider::LambdaClient => {
            let url = deployed["url"]
                .as_str()
                .with_context(|| format!("no URL in {deployed}"))?;
            let target = super::target(platform, url)?;
            (route.host, route.path) = (target.host, target.path);
        }
        Provider::Whisk => {
            let auth = STANDARD.encode(credential(platform, "ow", "OW_AUTH").await?);
            route.headers.push(("authorization", format!("Basic {auth}")));
            route.path = format!("/api/v1/namespaces/_/actions/{name}?blocking=true&result=true");
        }
        Provider::Fn => {
            let token = format!("Bearer {}", credential(platform, "fn", "FN_TOKEN").await?);
            let id = function_id(platform, &token, name).await?;
            route.path = format!("/invoke/{id}");
            route.headers.push(("authorization", token));
        }
    }
    Ok((route, full))
}

async fn credential(platform: &Platform, provider: &str, name: &str) -> Result<String> {
    let all = platform.clients_of(provider, None).await;
    let found = all.into_iter().find(|(known, _)| known == name);
    Ok(found.with_context(|| format!("{name} is not set"))?.1)
}

/// The id that Fn's clients call a function by.
async fn function_id(platform: &Platform, token: &str, name: &str) -> Result<String> {
    let http = platform.http();
    let get = async |path: String| -> Result<Value> {
        http.send("GET", &path, &[("authorization", token)], "").await?.json()
    };
    let apps = get("/v2/apps".to_owned()).await?;
    for app in apps["items"].as_array().context("apps")? {
        let id = app["id"].as_str().context("an app's id")?;
        let found = get(format!("/v2/fns?app_id={id}&name={name}")).await?;
        if let Some(id) = found["items"][0]["id"].as_str() {
            return Ok(id.to_owned());
        }
    }
    bail!("no function {name:?}")
}

/// The resolved interpreter that runs functions of a language: one says so itself.
async fn interpreter(platform: &Platform, language: Language) -> Result<PathBuf> {
    let (name, runtime, project) = match language {
        Language::Python => {
            let source = "import os, sys\ndef handler(event, context):\n    return os.path.realpath(sys.executable)\n";
            ("which-python", "python3.11", Project::python("which-python", source))
        }
        Language::Node => {
            let source = "export const handler = async () => process.execPath;\n";
            ("which-node", "nodejs20.x", Project::node("which-node", source))
        }
    };
    drop(
        platform
            .cli()
            .json(&["deploy", project.as_str(), "--runtime", runtime])
            .await,
    );
    let answer = platform.cli().run(&["invoke", name, "{}"]).await.expect("invoke");
    let path: String = serde_json::from_str(answer.trim()).with_context(|| format!("{answer:?}"))?;
    Ok(path.into())
}

// === warm

async fn warm(
    context: &Context,
    platform: &Platform,
    (language, title): (Language, &str),
    findings: &mut Findings,
) -> Result<()> {
    let mut routes = Vec::new();
    for provider in PROVIDERS {
        routes.push((
            provider,
            deploy(platform, provider, language, &slug("warm", provider, title, 0))
                .await?
                .0,
        ));
    }
    let time = context.time(TIME);
    for connections in CONNECTIONS {
        eprintln!("bench: routes: warm: {title}, {connections} connections");
        for (_, route) in &routes {
            direct::run(route, *connections, time / 4).await?;
        }
        let mut rates = [Samples::default(), Samples::default(), Samples::default()];
        let mut times = [Samples::default(), Samples::default(), Samples::default()];
        for round in 0..context.rounds(ROUNDS) {
            for turn in 0..routes.len() {
                let at = (round + turn) % routes.len();
                let outcome = direct::run(&routes[at].1, *connections, time).await?;
                rates[at].push(outcome.per_second);
                times[at].extend(outcome.latencies_us);
            }
        }
        for (at, (provider, _)) in routes.iter().enumerate() {
            let name = format!("warm, {title} echo, {}, {connections} connections", provider.title());
            findings
                .figures
                .push(Figure::alone(&name, "req/s", &rates[at], Target::None));
            let name = format!("{name}: time");
            findings
                .figures
                .push(Figure::alone(&name, "us", &times[at], Target::None));
        }
    }
    Ok(())
}

// === overhead

async fn overheads(
    context: &Context,
    platform: &Platform,
    (language, title): (Language, &str),
    program: &Path,
    findings: &mut Findings,
) -> Result<()> {
    eprintln!("bench: routes: overhead: {title}");
    let mut over = Vec::new();
    for mut beside in besides(context, platform, (language, title), program, findings).await? {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        let time = context.time(TIME);
        direct::run(&beside.route, 1, time / 4).await?;
        stub_calls(&mut beside.stub, time / 4).await?;
        for _ in 0..context.rounds(ROUNDS) {
            ours.extend(direct::run(&beside.route, 1, time).await?.latencies_us);
            theirs.extend(stub_calls(&mut beside.stub, time).await?);
        }
        let name = format!("warm, {title} echo, {}, 1 connection: time", beside.provider.title());
        let reference = ("a bare stub speaking the same contract to the same program", &theirs);
        findings
            .figures
            .push(Figure::beside(&name, "us", &ours, reference, Target::None));
        over.push((beside.provider, ours.less(theirs.median().unwrap_or(0.0))));
    }
    let best = over
        .iter()
        .filter_map(|(_, samples)| Some((samples.median()?, samples.clone())))
        .min_by(|one, other| one.0.total_cmp(&other.0));
    for (provider, samples) in &over {
        let name = format!("overhead over the stub, {title} echo, {}", provider.title());
        let figure = match &best {
            Some((_, best)) => Figure::beside(
                &name,
                "us",
                samples,
                ("the best provider's", best),
                Target::RatioAtMost(SHARE),
            ),
            None => Figure::alone(&name, "us", samples, Target::None),
        };
        findings.figures.push(figure);
    }
    Ok(())
}

/// Every provider's route beside its stub, as far as the stub's program can be had.
async fn besides(
    context: &Context,
    platform: &Platform,
    (language, title): (Language, &str),
    program: &Path,
    findings: &mut Findings,
) -> Result<Vec<Beside>> {
    let mut besides = Vec::new();
    for provider in [Provider::LambdaClient, Provider::Whisk, Provider::Fn] {
        if provider == Provider::LambdaClient && language == Language::Node {
            let note = "left out: the stub of Lambda for Node.js: the provider's client is installed for Python only";
            findings.notes.push(note.to_owned());
            continue;
        }
        let stub = match stub(context, provider, language, program).await {
            Ok(stub) => stub,
            Err(error) => {
                findings.notes.push(format!(
                    "left out: the stub of {}, {title}: {error:#}",
                    provider.title()
                ));
                continue;
            }
        };
        let (route, _) = deploy(platform, provider, language, &slug("over", provider, title, 0)).await?;
        besides.push(Beside { provider, route, stub });
    }
    Ok(besides)
}

async fn stub(context: &Context, provider: Provider, language: Language, program: &Path) -> Result<Stub> {
    let cached = |path: &str| context.checkout.join(".cache").join(path);
    match provider {
        Provider::Whisk => {
            let sources = context.checkout.join("providers/openwhisk/bootstrap");
            let whisk = stubs::Whisk::start(program, &sources, language, whisk_source(language), BODY).await?;
            Ok(Stub::Whisk(Box::new(whisk)))
        }
        Provider::Fn => {
            let bundle = match language {
                Language::Python => cached("bundles/fn/python3.11"),
                Language::Node => cached("bundles/fn/node"),
            };
            let modules = bundle.join("node_modules");
            let bundle = if modules.is_dir() { modules } else { bundle };
            let called = stubs::Fn::start(program, &bundle, language, fn_source(language), BODY).await?;
            Ok(Stub::Fn(Box::new(called)))
        }
        Provider::Lambda | Provider::LambdaClient => {
            let source =
                "def handler(event, context):\n    return {'statusCode': 200, 'body': event.get('body', '')}\n";
            let event = function_url_event().to_string();
            let lambda = stubs::Lambda::start(program, &cached("python/awslambdaric"), source, event.into()).await?;
            Ok(Stub::Lambda(Box::new(lambda)))
        }
    }
}

/// What a function sees of a call of its URL.
/// Source: AWS Lambda developer guide, "Invoking Lambda function URLs", request payload format 2.0.
fn function_url_event() -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "",
        "headers": {
            "host": "0000000000000000000000000000000000.lambda-url.us-east-1.localhost",
            "content-type": "application/json", "content-length": BODY.len().to_string(),
            "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-port": "4747",
        },
        "requestContext": {
            "accountId": "anonymous", "apiId": "0000000000000000000000000000000000", "domainName": "localhost",
            "http": { "method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "" },
            "requestId": "00000000-0000-0000-0000-000000000000", "routeKey": "$default", "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 1_767_225_600_000_u64,
        },
        "body": BODY, "isBase64Encoded": false,
    })
}

async fn stub_calls(stub: &mut Stub, time: Duration) -> Result<Vec<f64>> {
    let begun = Instant::now();
    let mut latencies = Vec::new();
    while begun.elapsed() < time {
        let sent = Instant::now();
        stub.call().await?;
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

// === cold

async fn cold(
    context: &Context,
    platform: &Platform,
    (language, title): (Language, &str),
    findings: &mut Findings,
) -> Result<()> {
    eprintln!("bench: routes: cold: {title}");
    let mut samples = [Samples::default(), Samples::default(), Samples::default()];
    for round in 0..WARM_UP + context.rounds(COLD_ROUNDS) {
        for (at, provider) in PROVIDERS.into_iter().enumerate() {
            let took = cold_call(platform, provider, language, &slug("cold", provider, title, round)).await?;
            if round >= WARM_UP {
                samples[at].push(took);
            }
        }
    }
    for (provider, samples) in PROVIDERS.iter().zip(&samples) {
        let name = format!("cold, {title} echo, {}", provider.title());
        findings.figures.push(Figure::alone(&name, "ms", samples, Target::None));
    }
    Ok(())
}

/// Deploys a function and calls it once; returns the time of the call, milliseconds.
async fn cold_call(platform: &Platform, provider: Provider, language: Language, name: &str) -> Result<f64> {
    let (route, full) = deploy(platform, provider, language, name).await?;
    outside::settle(platform).await;
    let before = Code::look(platform);
    let mut connection = Direct::tcp(&route.address).await?;
    let begun = Instant::now();
    connection.call(&route).await?;
    let took = begun.elapsed();
    before.ensure_cold(platform)?;
    connection.close().await;
    let _ = platform.cli().run(&["rm", &full]).await.expect("rm");
    Ok(took.as_secs_f64() * 1e3)
}

fn slug(what: &str, provider: Provider, title: &str, round: usize) -> String {
    let provider = match provider {
        Provider::Lambda => "lambda",
        Provider::Whisk => "whisk",
        Provider::Fn => "fn",
        Provider::LambdaClient => "client",
    };
    let title: String = title.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{what}-{provider}-{}-{round}", title.to_lowercase())
}
