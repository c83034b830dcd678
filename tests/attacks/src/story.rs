//! Attacks that take more than one call or one function, or whose proof is outside.

use std::time::Duration;

use serde_json::json;
use sonagi_testkit::{Client, Project};
use tokio::time::Instant;

use crate::arena::{Arena, LATE, MARK, Report};

/// What a story comes to: what happened, or what was wrong.
type Outcome = Result<String, String>;

/// Runs the stories whose name contains the filter.
pub async fn run_all(arena: &mut Arena, filter: &str) -> Vec<Report> {
    let mut reports = Vec::new();
    for (number, name) in [
        (20, "story.time_is_kept"),
        (36, "story.forged_report"),
        (37, "story.answer_sizes"),
        (41, "story.two_functions"),
        (45, "story.environment"),
        (46, "story.header_injection"),
        (47, "story.left_file"),
        (48, "story.left_global"),
        (50, "story.archives"),
        (51, "story.names"),
    ] {
        if !name.contains(filter) {
            continue;
        }
        let outcome = match name {
            "story.time_is_kept" => time_is_kept(arena).await,
            "story.forged_report" => forged_report(arena).await,
            "story.answer_sizes" => answer_sizes(arena).await,
            "story.two_functions" => two_functions(arena).await,
            "story.environment" => environment(arena).await,
            "story.header_injection" => header_injection(arena).await,
            "story.left_file" => left_file(arena).await,
            "story.left_global" => left_global(arena).await,
            "story.archives" => archives(arena).await,
            _ => names(arena).await,
        };
        let outcome = match (outcome, arena.healthy().await) {
            (Ok(_), Err(wrong)) => Err(wrong),
            (outcome, _) => outcome,
        };
        let (happened, wrong) = match outcome {
            Ok(happened) => (happened, None),
            Err(wrong) => (String::new(), Some(wrong)),
        };
        reports.push(Report {
            number,
            name: name.to_owned(),
            happened,
            wrong,
        });
    }
    reports
}

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

async fn time_is_kept(arena: &Arena) -> Outcome {
    arena.deploy("late", &["--memory", "128", "--timeout", "1s"]).await;
    let mut longest = Duration::ZERO;
    for attack in ["processes.sleep_on", "processes.spin_on"] {
        let begun = Instant::now();
        let (failed, answer) = arena.call("late", &json!({"attack": attack})).await?;
        longest = longest.max(begun.elapsed());
        require(failed, || format!("{attack}: {answer}"))?;
    }
    require(longest < Duration::from_secs(1) + LATE, || {
        format!("ended after {longest:?}")
    })?;
    let (_, next) = arena
        .call("late", &json!({"attack": "network.remember", "word": "x"}))
        .await?;
    require(next["calls"] == 1, || format!("the instance was used again: {next}"))?;
    arena.remove("late").await;
    Ok(format!("ended after at most {longest:?}, then a fresh instance"))
}

async fn forged_report(arena: &Arena) -> Outcome {
    arena.deploy("forger", &["--memory", "512", "--timeout", "60s"]).await;
    let (failed, answer) = arena
        .call("forger", &json!({"attack": "resources.flood", "mib": 1}))
        .await?;
    require(!failed, || answer.to_string())?;
    let usage = arena
        .platform
        .native("GET", "/runs?function=forger&limit=100", "")
        .await;
    let runs = usage["runs"].as_array().map_or(0, Vec::len);
    require(runs == 1, || format!("{runs} runs are recorded for one call"))?;
    let shown = arena.platform.cli().run(&["logs", "forger"]).await.stdout;
    require(!shown.contains('\u{1b}') && !shown.contains('\0'), || {
        "control characters of a function reach the terminal".to_owned()
    })?;
    arena.remove("forger").await;
    Ok("one run recorded, control characters escaped".to_owned())
}

async fn answer_sizes(arena: &Arena) -> Outcome {
    let source = "def handler(event, context):\n    return 'x' * event['bytes']\n";
    let project = Project::python("sizes", source);
    let settings = ["--memory", "512", "--timeout", "60s"];
    arena
        .platform
        .cli()
        .json(&[&["deploy", project.as_str()], &settings[..]].concat())
        .await;
    // The quotes count too. Source: AWS Lambda quotas, "invocation payload": 6 MB, and 100 more bytes as observed.
    for (bytes, fits) in [
        (6 * 1024 * 1024 - 2, true),
        (6 * 1024 * 1024 + 1024, false),
        (64 * 1024 * 1024, false),
    ] {
        let (failed, answer) = arena.call("sizes", &json!({"bytes": bytes})).await?;
        require(failed != fits, || format!("{bytes} bytes: failed {failed}"))?;
        require(fits || answer.to_string().contains("ResponseSizeTooLarge"), || {
            answer.to_string()
        })?;
    }
    arena.remove("sizes").await;
    Ok("6 MiB pass, more is refused".to_owned())
}

async fn two_functions(arena: &Arena) -> Outcome {
    let settings = ["--memory", "256", "--timeout", "60s"];
    for name in ["listener", "visitor", "twin"] {
        arena.deploy(name, &settings).await;
    }
    let listen = json!({"attack": "network.listen", "port": 8080, "seconds": 3});
    let visit = json!({"attack": "network.reach", "port": 8080});
    let (one, two, visit) = tokio::join!(
        arena.call("listener", &listen),
        arena.call("twin", &listen),
        arena.call("visitor", &visit),
    );
    for (name, came) in [("listener", one?), ("twin", two?)] {
        let steps = &came.1["steps"];
        require(steps["bound"] == "done" && steps["visitor"] == "nobody", || {
            format!("{name}: {}", came.1)
        })?;
    }
    let (_, visit) = visit?;
    let reached = visit["steps"]
        .as_object()
        .is_none_or(|steps| steps.values().any(|came| came != "refused" && came != "none"));
    require(!reached, || format!("visitor: {visit}"))?;
    for name in ["listener", "visitor", "twin"] {
        arena.remove(name).await;
    }
    Ok("both listen on 8080, nobody comes".to_owned())
}

/// Starts of the names that a function's environment may have.
/// Source: AWS Lambda, "Defined runtime environment variables"; the others are the interpreter's own.
const DOCUMENTED: &[&str] = &[
    "AWS_",
    "LAMBDA_",
    "_HANDLER",
    "_X_AMZN",
    "_AWS_XRAY_",
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_",
    "TZ",
    "PYTHON",
    "HOME",
    "PWD",
    "SHLVL",
    "OWN",
    // Of the egress mode `proxy`; the address is in the instance's own network namespace.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

async fn environment(arena: &Arena) -> Outcome {
    arena.deploy("teller", &["--env", "OWN=mine"]).await;
    let (failed, answer) = arena.call("teller", &json!({"attack": "network.tells"})).await?;
    require(!failed, || answer.to_string())?;
    let text = answer.to_string();
    let token = std::fs::read_to_string(arena.platform.data().join("token")).unwrap_or_default();
    for secret in [MARK, token.trim(), "neighbor"] {
        require(!text.contains(secret), || format!("tells {secret:?}"))?;
    }
    let names: Vec<_> = answer["steps"]["environment"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    let odd: Vec<_> = names
        .iter()
        .filter(|name| !DOCUMENTED.iter().any(|start| name.starts_with(start)))
        .collect();
    require(odd.is_empty(), || format!("undocumented variables: {odd:?}"))?;
    arena.remove("teller").await;
    Ok(format!("{} variables, all documented", names.len()))
}

const INJECTOR: &str = r"
SHAPES = {
    'line break in a value': {'statusCode': 200, 'headers': {'X': 'a\r\nSet-Cookie: injected=1'}},
    'line feed in a value': {'statusCode': 200, 'headers': {'X': 'a\nSet-Cookie: injected=1'}},
    'zero in a value': {'statusCode': 200, 'headers': {'X': 'a\0b'}},
    'line break in a name': {'statusCode': 200, 'headers': {'X\r\nSet-Cookie': 'injected=1'}},
    'space in a name': {'statusCode': 200, 'headers': {'X injected': '1'}},
    'empty name': {'statusCode': 200, 'headers': {'': 'injected'}},
    'line break in a cookie': {'statusCode': 200, 'cookies': ['a=b\r\nX-Injected: 1']},
    'line break in the type': {'statusCode': 200, 'headers': {'content-type': 'text/html\r\n\r\n<injected>'}},
    'many headers': {'statusCode': 200, 'headers': {'X-%d' % n: 'injected' for n in range(10000)}},
    'large headers': {'statusCode': 200, 'headers': {'X-%d' % n: 'injected' * 1000 for n in range(50)}},
    'informational status': {'statusCode': 101, 'headers': {'upgrade': 'injected'}},
    'status out of range': {'statusCode': 1000, 'body': 'injected'},
    'negative status': {'statusCode': -1, 'body': 'injected'},
}
HARMLESS = {
    'own length': {'statusCode': 200, 'headers': {'Content-Length': '3'}, 'body': 'whole body'},
    'two lengths': {'statusCode': 200, 'headers': {'Content-Length': '3', 'content-length': '4'}, 'body': 'whole body'},
    'chunked': {'statusCode': 200, 'headers': {'Transfer-Encoding': 'chunked'}, 'body': 'whole body'},
    'close': {'statusCode': 200, 'headers': {'Connection': 'close, x-gone', 'X-Gone': '1', 'Keep-Alive': 'x'}, 'body': 'whole body'},
}
def handler(event, context):
    shape = event['headers']['x-shape']
    return SHAPES.get(shape) or HARMLESS[shape]
";

async fn header_injection(arena: &Arena) -> Outcome {
    let project = Project::python("injector", INJECTOR);
    let deployed = arena
        .platform
        .cli()
        .json(&["deploy", project.as_str(), "--url", "public"])
        .await;
    let url = deployed["url"].as_str().ok_or_else(|| format!("no URL: {deployed}"))?;
    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let shapes: Vec<_> = INJECTOR
        .lines()
        .filter_map(|line| line.strip_prefix("    '")?.split('\'').next())
        .collect();
    for shape in &shapes {
        let headers = [("host", host.as_str()), ("x-shape", *shape)];
        let answer = arena
            .platform
            .http()
            .send("GET", "/", &headers, "")
            .await
            .map_err(|error| format!("{shape}: {error:#}"))?;
        let told = format!("{} {:?} {}", answer.status, answer.headers, answer.text());
        let harmless = ["own length", "two lengths", "chunked", "close"].contains(shape);
        let held = if harmless {
            answer.status == 200 && answer.text() == "whole body" && answer.headers.get("x-gone").is_none()
        } else {
            answer.status == 502 && !told.contains("injected")
        };
        require(held, || format!("{shape}: {told}"))?;
    }
    arena.remove("injector").await;
    Ok(format!("{} shapes: 502, or stripped", shapes.len()))
}

async fn left_file(arena: &Arena) -> Outcome {
    let leave = json!({"attack": "files.leave_file"});
    for _ in 0..2 {
        arena.deploy("leaver", &[]).await;
        let (_, answer) = arena.call("leaver", &leave).await?;
        require(answer["steps"]["earlier file"] == "gone", || answer.to_string())?;
        arena.remove("leaver").await;
    }
    Ok("gone".to_owned())
}

async fn left_global(arena: &Arena) -> Outcome {
    for word in ["first", "second"] {
        // Another variable makes another revision.
        arena.deploy("rememberer", &["--env", &format!("OWN={word}")]).await;
        let (_, answer) = arena
            .call("rememberer", &json!({"attack": "network.remember", "word": word}))
            .await?;
        require(answer["steps"]["before"] == "nothing", || answer.to_string())?;
    }
    arena.remove("rememberer").await;
    Ok("not there".to_owned())
}

/// Sends archives that must all be refused, and prints the refusals.
const ARCHIVES: &str = r#"
import io, stat, sys, zipfile, boto3, botocore.config, botocore.exceptions
client = boto3.client("lambda", config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=120))
def entry(name, mode=0o644, kind=stat.S_IFREG):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | mode) << 16
    return info
def zipped(*entries, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for info, content in entries:
            out.writestr(info, content, method)
    return buffer.getvalue()
mark = sys.argv[1]
deflated = zipfile.ZIP_DEFLATED
cases = {
    "zip slip": zipped((entry("../" + mark), b"x")),
    "deep zip slip": zipped((entry("a/../../../../../../../../tmp/" + mark), b"x")),
    "absolute": zipped((entry("/tmp/" + mark), b"x")),
    "backslash": zipped((entry("..\\" + mark), b"x")),
    "link out": zipped((entry("link", 0o777, stat.S_IFLNK), b"/etc")),
    "link up": zipped((entry("link", 0o777, stat.S_IFLNK), b"../../../etc/shadow")),
    "through a link": zipped((entry("link", 0o777, stat.S_IFLNK), b"/tmp"), (entry("link/" + mark), b"x")),
    "device": zipped((entry("device", 0o666, stat.S_IFCHR), b"")),
    "pipe": zipped((entry("pipe", 0o666, stat.S_IFIFO), b"")),
    "twice": zipped((entry("app.py"), b"x"), (entry("app.py"), b"y")),
    "bomb": zipped((entry("zeros"), bytes(300 << 20)), method=deflated),
    "no archive": b"PK\x03\x04 nothing",
    "cut": zipped((entry("app.py"), b"x" * 1000))[:-30],
    "nothing": b"",
}
for name, archive in cases.items():
    try:
        client.create_function(FunctionName="archive", Runtime="python3.11", Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": archive})
        print("taken:", name)
        client.delete_function(FunctionName="archive")
    except botocore.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        print("refused:" if 400 <= status < 500 else "odd:", name, status, error.response["Error"]["Message"])
"#;

async fn archives(arena: &Arena) -> Outcome {
    let mark = format!("attack-slip-{}", arena.platform.id());
    let arguments = ["-c", ARCHIVES, mark.as_str()];
    let ended = Client::Boto3.run(arguments, &arena.platform.aws().await).await;
    let lines: Vec<_> = ended.stdout.lines().collect();
    require(lines.len() == 14, || format!("{} {}", ended.stdout, ended.stderr))?;
    let odd: Vec<_> = lines.iter().filter(|line| !line.starts_with("refused:")).collect();
    require(odd.is_empty(), || format!("{odd:?}"))?;
    let slipped = std::env::temp_dir().join(&mark);
    require(!slipped.exists(), || format!("{} was written", slipped.display()))?;
    Ok("14 archives refused".to_owned())
}

async fn names(arena: &Arena) -> Outcome {
    let long = "x".repeat(65);
    let names = [
        "..%2f..%2fx",
        "%2e%2e",
        "a%2fb",
        "a%00b",
        "%F0%9F%98%80",
        "a%0d%0ab",
        "a%20b",
        "%25",
        long.as_str(),
    ];
    let mut asked = 0;
    for name in names {
        for (method, path) in [("GET", ""), ("POST", "/invoke"), ("DELETE", ""), ("GET", "/logs")] {
            let answer = arena
                .platform
                .native_answer(method, &format!("/functions/{name}{path}"), "")
                .await;
            require(answer.status.is_client_error(), || {
                format!("{method} {name}{path}: {} {}", answer.status, answer.text())
            })?;
            require(told_nothing(&answer.text(), arena), || {
                format!("{name}: {}", answer.text())
            })?;
            asked += 1;
        }
        for path in ["", "/invocations", "/configuration", "/policy", "/aliases"] {
            let path = format!("/2015-03-31/functions/{name}{path}");
            let answer = arena
                .platform
                .http()
                .get(&path)
                .await
                .map_err(|error| format!("{name}: {error:#}"))?;
            require(answer.status.is_client_error(), || {
                format!("{path}: {} {}", answer.status, answer.text())
            })?;
            require(told_nothing(&answer.text(), arena), || {
                format!("{name}: {}", answer.text())
            })?;
            asked += 1;
        }
    }
    Ok(format!("{asked} requests refused"))
}

/// Whether an error tells nothing of the platform's own folders.
fn told_nothing(text: &str, arena: &Arena) -> bool {
    !text.contains(&arena.platform.data().display().to_string())
}
