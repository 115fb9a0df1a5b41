//! Authentication: access tokens a second, each for an assertion of its own that is durable before
//! it is answered; and a status request with a token against the same without authentication.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::server::Server;
use crate::source::generate;
use crate::{Args, median, summary};

/// Clients that ask for tokens at once.
const CLIENTS: usize = 8;

/// All of it.
pub fn all(args: &Args) {
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let source = folder.path().join("source");
    generate(args, &source, 10, &[]);
    let client = Client::new();
    let applications = folder.path().join("applications.toml");
    std::fs::write(&applications, client.registered()).expect("a file");
    let at = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        folder
    };
    let file = format!("auth.applications={}", applications.display());
    let smart = Server::start(&args.server, &at("smart"), &source, &["auth.mode=smart", &file]);
    let none = Server::start(&args.server, &at("none"), &source, &[]);
    tokens(args, &client, &smart);
    status(args, &client, &smart, &none);
}

/// A client with a key.
struct Client {
    key: EncodingKey,
    jwk: [String; 2],
}

impl Client {
    fn new() -> Self {
        let how = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(how, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref()).expect("the same key");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
        let jwk = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        Self { key: EncodingKey::from_ec_der(document.as_ref()), jwk }
    }

    fn registered(&self) -> String {
        let [x, y] = &self.jwk;
        format!(
            "[[application]]\nclient_id = 'measured'\ntenant = 'default'\nscopes = 'system/*.rs'\n\
             groups = '*'\nsystem_export = true\npatient_export = true\n\
             jwks = {{ keys = [{{ kty = 'EC', crv = 'P-384', kid = 'k', x = '{x}', y = '{y}' }}] }}\n"
        )
    }

    /// The form of a request for a token.
    fn form(&self, base: &str) -> String {
        let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::ES384) };
        let claims = json!({
            "iss": "measured", "sub": "measured", "aud": format!("{base}/auth/token"),
            "exp": jsonwebtoken::get_current_timestamp() + 300, "jti": uuid::Uuid::new_v4().to_string(),
        });
        let assertion = jsonwebtoken::encode(&header, &claims, &self.key).expect("an assertion");
        format!(
            "grant_type=client_credentials&scope=system/*.rs&client_assertion={assertion}\
             &client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        )
    }
}

fn ask(agent: &ureq::Agent, base: &str, form: &str) -> String {
    let request = agent.post(format!("{base}/auth/token"));
    let request = request.content_type("application/x-www-form-urlencoded");
    let answer: Value = request.send(form).expect("a token").body_mut().read_json().expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// The assertions are made before the clock runs.
fn tokens(args: &Args, client: &Client, server: &Server) {
    let each = if args.quick { 100 } else { 1000 };
    let forms: Vec<Vec<_>> =
        (0..CLIENTS).map(|_| (0..each).map(|_| client.form(&server.base)).collect()).collect();
    let began = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = forms
            .iter()
            .map(|forms| {
                scope.spawn(|| {
                    let agent = ureq::agent();
                    let time = |form: &String| {
                        let sent = Instant::now();
                        ask(&agent, &server.base, form);
                        sent.elapsed()
                    };
                    forms.iter().map(time).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    println!("\nAccess tokens, {CLIENTS} clients, {} in all: {rate:.0} a second", times.len());
    println!("  {}", summary(&mut times));
}

/// Rounds take turns; what counts is the ratio within a round.
fn status(args: &Args, client: &Client, smart: &Server, none: &Server) {
    let (rounds, requests) = if args.quick { (10, 200) } else { (60, 500) };
    let agent = ureq::agent();
    let bearer = format!("Bearer {}", ask(&agent, &smart.base, &client.form(&smart.base)));
    let complete = |server: &Server, authorization: &str| {
        let polling = server.kickoff_as("$export?_type=Patient", authorization);
        while agent.get(&polling).header("Authorization", authorization).call().expect("status").status()
            != 200
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        polling
    };
    let subjects = [(complete(smart, &bearer), bearer.as_str()), (complete(none, ""), "")];
    let mut ratios = Vec::new();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let [with, without] = [0, 1].map(|n| {
            let (polling, authorization) = &subjects[n];
            let began = Instant::now();
            for _ in 0..requests {
                let request = agent.get(polling).header("Authorization", *authorization);
                request.call().expect("status").body_mut().read_to_vec().expect("a manifest");
            }
            let time = began.elapsed() / requests;
            times[n].push(time);
            time
        });
        ratios.push(with.as_secs_f64() / without.as_secs_f64());
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!("\nA status request with a token, and without authentication, {rounds} rounds of {requests}");
    let [with, without] = times.map(|mut times| median(&mut times));
    println!(
        "  {with:.1?} and {without:.1?} in the median; ratio {:.2} at the least, {:.2} in the median",
        ratios[0],
        ratios[ratios.len() / 2]
    );
}
