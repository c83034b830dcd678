//! A custom runtime without dependencies, to be built static: answers each event with itself.
//! `rustc -O -C target-feature=+crt-static static_echo.rs -o bootstrap`

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;

fn main() -> Result<()> {
    // Started by a container runtime, it is ready when it can write.
    let Ok(address) = std::env::var("AWS_LAMBDA_RUNTIME_API") else {
        println!("ready");
        return Ok(());
    };
    let base = "/2018-06-01/runtime/invocation";
    let mut stream = TcpStream::connect(&address)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        write!(stream, "GET {base}/next HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        let (id, event) = answer(&mut reader)?;
        // The event of a function URL holds the request; its answer need not be interpreted to be timed.
        let head = format!(
            "POST {base}/{id}/response HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
            event.len()
        );
        stream.write_all(&[head.as_bytes(), &event].concat())?;
        answer(&mut reader)?;
    }
}

/// One HTTP answer: the request id, if it carries one, and the body.
fn answer(reader: &mut BufReader<TcpStream>) -> Result<(String, Vec<u8>)> {
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => id = value.to_owned(),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((id, body))
}
