//! The two endpoints that `evanesce token` talks to, over plain text or TLS: they answer what
//! the test says, and tell it what they were asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use percent_encoding::percent_decode_str;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A form as it was posted: the media type, and the fields.
pub struct Form {
    pub media_type: String,
    pub fields: BTreeMap<String, String>,
}

/// See the module. It ends with the process.
pub struct TokenServer {
    pub base: String,
    pub endpoint: String,
    pub forms: Receiver<Form>,
    /// The certificate of its authority, if it talks TLS.
    pub authority: Option<String>,
}

/// What the endpoints answer: status and body; `ENDPOINT` stands for the token endpoint.
#[derive(Clone)]
pub struct Answers {
    pub discovery: (u16, &'static str),
    pub token: (u16, &'static str),
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            discovery: (200, r#"{"token_endpoint": "ENDPOINT"}"#),
            token: (200, r#"{"access_token":"a.b.c","token_type":"bearer","expires_in":300,"scope":"s"}"#),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl TokenServer {
    pub fn plain(answers: Answers) -> Self {
        Self::start("http", answers, |stream| Box::new(stream), None)
    }

    pub fn tls(answers: Answers) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key);
        let config = Arc::new(config.unwrap());
        let wrap = move |stream| -> Box<dyn Stream> {
            Box::new(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream))
        };
        Self::start("https", answers, wrap, Some(cert.pem()))
    }

    fn start(
        scheme: &str,
        answers: Answers,
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
        authority: Option<String>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let endpoint = format!("{origin}/auth/token");
        let (tell, forms) = mpsc::channel();
        let address = endpoint.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that does not trust the certificate ends the connection.
                let _ = serve(wrap(stream.unwrap()), &answers, &address, &tell);
            }
        });
        Self { base: format!("{origin}/r4/default"), endpoint, forms, authority }
    }
}

fn serve(
    stream: Box<dyn Stream>,
    answers: &Answers,
    endpoint: &str,
    tell: &mpsc::Sender<Form>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let field = |name: &str| {
        let of_name = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        lines.iter().find(of_name).map(|line| line[name.len() + 1..].trim().to_owned()).unwrap_or_default()
    };
    let first = lines.first().cloned().unwrap_or_default();
    let (status, body) = match first.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/r4/default/.well-known/smart-configuration", _] => answers.discovery,
        ["POST", "/auth/token", _] => {
            let mut body = vec![0; field("content-length").parse().unwrap()];
            stream.read_exact(&mut body)?;
            let decode =
                |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
            let body = String::from_utf8(body).unwrap();
            let fields = body.split('&').map(|field| field.split_once('=').unwrap());
            let fields = fields.map(|(name, value)| (decode(name), decode(value))).collect();
            let _ = tell.send(Form { media_type: field("content-type"), fields });
            answers.token
        }
        _ => (404, ""),
    };
    let body = body.replace("ENDPOINT", endpoint);
    let location = if status / 100 == 3 { format!("Location: {endpoint}\r\n") } else { String::new() };
    write!(
        stream.get_mut(),
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{location}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.get_mut().flush()
}
