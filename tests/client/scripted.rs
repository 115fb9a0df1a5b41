//! An HTTP server that answers as a test's script says: whatever no honest server would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// This server's own URL.
    pub base: String,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a script says to a request: the bytes of an answer. Without any the connection stays as it is; it
/// ends after `Connection: close`.
type Script = dyn Fn(&Asked) -> Vec<u8> + Send + Sync;

pub struct ScriptedServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ScriptedServer {
    pub fn new(script: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), asked.clone());
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, script, log) = (stream.unwrap(), script.clone(), log.clone());
                std::thread::spawn(move || serve(stream, address, &*script, &log));
            }
        });
        Self { address, asked }
    }

    /// One that exports these files: type, text, and what else stands in the manifest.
    pub fn with_files(files: Vec<(Value, Vec<u8>)>) -> Self {
        Self::new(move |asked| match asked.target.as_str() {
            "/$export" => kicked_off(asked),
            "/status" if asked.method == "DELETE" => answer(202, "", b""),
            "/status" => {
                let items = files.iter().enumerate().map(|(n, (item, _))| {
                    let mut item = item.clone();
                    item["url"] = format!("{}/file/{n}", asked.base).into();
                    item
                });
                json_answer(200, &manifest(items.collect()))
            }
            file => {
                let n: usize = file.strip_prefix("/file/").unwrap().parse().unwrap();
                answer(200, "Content-Type: application/fhir+ndjson\r\n", &files[n].1)
            }
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// How often a target was asked for.
    pub fn count(&self, target: &str) -> usize {
        self.asked.lock().iter().filter(|asked| asked.target == target).count()
    }
}

/// A manifest with this output.
pub fn manifest(output: Vec<Value>) -> Value {
    serde_json::json!({"transactionTime": "2026-01-01T00:00:00Z", "request": "x",
        "requiresAccessToken": false, "output": output, "error": []})
}

/// The answer to a kick-off whose polling URL is `/status`.
pub fn kicked_off(asked: &Asked) -> Vec<u8> {
    answer(202, &format!("Content-Location: {}/status\r\n", asked.base), b"")
}

/// An answer with more header lines, each with its end.
pub fn answer(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub fn json_answer(status: u16, body: &Value) -> Vec<u8> {
    answer(status, "Content-Type: application/json\r\n", body.to_string().as_bytes())
}

fn serve(stream: TcpStream, address: SocketAddr, script: &Script, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut asked = Asked { method, target, fields, body: Vec::new(), base: format!("http://{address}") };
        let length = asked.field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        asked.body = vec![0; length];
        if reader.read_exact(&mut asked.body).is_err() {
            return;
        }
        log.lock().push(asked.clone());
        let answer = script(&asked);
        if !answer.is_empty() && writer.write_all(&answer).is_err() {
            return;
        }
        let says_close = |line: &[u8]| line.eq_ignore_ascii_case(b"connection: close\r");
        if answer.split(|byte| *byte == b'\n').take(20).any(says_close) {
            return;
        }
    }
}
