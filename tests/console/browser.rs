//! A real browser: Debian's chromium, driven by chromedriver. Each has a profile and a driver of its own, which
//! end with it. What a page shows later is waited for; nothing here sleeps for a fixed time.

#![allow(dead_code, reason = "each module uses a part of it")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{Need, PATIENCE, eventually, post, skip, temporary_folder};

/// The keys as WebDriver names them.
pub const TAB: char = '\u{E004}';
pub const ENTER: char = '\u{E007}';
pub const ESCAPE: char = '\u{E00C}';

/// The widths at which pages are looked at.
const DESKTOP: (u32, u32) = (1280, 800);
pub const PHONE: (u32, u32) = (390, 844);

pub struct Browser {
    client: Client,
    /// The URL of the session at the driver, for commands that are chromedriver's own.
    session: String,
    runtime: Runtime,
    driver: Driver,
    _profile: TempDir,
}

/// The process of chromedriver, with the browsers that it started.
struct Driver(Child);

impl Driver {
    fn start() -> std::io::Result<(Self, String)> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").process_group(0).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let driver = Self(child);
        let port = lines.find_map(|line| {
            line.split_once("started successfully on port ")
                .map(|(_, port)| port.trim_end_matches('.').to_string())
        });
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.ok_or_else(|| std::io::Error::other("chromedriver did not tell its port"))?;
        Ok((driver, format!("http://127.0.0.1:{port}")))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Browser {
    /// Starts one; `None` skips the test, because there is none on this machine.
    pub fn start(what: &str) -> Option<Self> {
        if let Err(error) = Command::new("chromium").arg("--version").output() {
            skip(Need::Browser, what, &error.to_string());
            return None;
        }
        let (driver, url) = match Driver::start() {
            Ok(started) => started,
            Err(error) => {
                skip(Need::Browser, what, &format!("chromedriver: {error}"));
                return None;
            }
        };
        let profile = temporary_folder();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let args = [
            "--headless",
            // Root has no sandbox, nor has a container.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // Names of other origins that lead to this machine, and never to a resolver.
            "--host-resolver-rules=MAP *.test 127.0.0.1",
            "--force-color-profile=srgb",
            "--hide-scrollbars",
        ];
        let profile_argument = format!("--user-data-dir={}", profile.path().display());
        let args: Vec<_> = args.into_iter().chain([&*profile_argument]).collect();
        let capabilities = json!({
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let connect = async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            let client = builder.capabilities(capabilities).connect(&url).await.unwrap();
            let session = client.session_id().await.unwrap().unwrap();
            (client, session)
        };
        let (client, session) = runtime.block_on(connect);
        let session = format!("{url}/session/{session}");
        let browser = Self { client, session, runtime, driver, _profile: profile };
        browser.look_at(DESKTOP, "light");
        Some(browser)
    }

    pub fn open(&self, url: &str) {
        self.runtime.block_on(self.client.goto(url)).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub fn url(&self) -> String {
        self.runtime.block_on(self.client.current_url()).unwrap().to_string()
    }

    pub fn reload(&self) {
        self.runtime.block_on(self.client.refresh()).unwrap();
    }

    /// The element, once it is there.
    pub fn find(&self, css: &str) -> Element {
        let wait = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css));
        self.runtime.block_on(wait).unwrap_or_else(|error| panic!("{css}: {error}\n{}", self.page_text()))
    }

    pub fn has(&self, css: &str) -> bool {
        !self.runtime.block_on(self.client.find_all(Locator::Css(css))).unwrap().is_empty()
    }

    /// The text of the element as people see it.
    pub fn text(&self, css: &str) -> String {
        self.runtime.block_on(self.find(css).text()).unwrap()
    }

    pub fn page_text(&self) -> String {
        self.run("return document.body ? document.body.innerText : ''").as_str().unwrap_or_default().into()
    }

    /// Waits until the page shows this text, whatever the case that style gives it.
    pub fn wait_text(&self, text: &str) {
        let wanted = text.to_lowercase();
        let shows = || self.page_text().to_lowercase().contains(&wanted).then_some(());
        eventually(&format!("{text} on {}", self.url()), shows);
    }

    pub fn click(&self, css: &str) {
        let clicked = self.runtime.block_on(self.find(css).click());
        clicked.unwrap_or_else(|error| panic!("{css}: {error}\n{}", self.page_text()));
    }

    /// Types into a field, in place of what it has.
    pub fn fill(&self, css: &str, text: &str) {
        let field = self.find(css);
        let filled = async {
            field.clear().await?;
            field.send_keys(text).await
        };
        self.runtime.block_on(filled).unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Types at whatever has the focus.
    pub fn type_text(&self, text: &str) {
        text.chars().for_each(|key| self.press(key));
    }

    /// Presses and releases a key at whatever has the focus.
    pub fn press(&self, value: char) {
        let keys = KeyActions::new("keyboard".into()).then(KeyAction::Down { value });
        let keys = keys.then(KeyAction::Up { value });
        self.runtime.block_on(self.client.perform_actions(keys)).unwrap();
    }

    /// The result of a script's `return`.
    pub fn run(&self, script: &str) -> Value {
        let done = self.runtime.block_on(self.client.execute(script, Vec::new()));
        done.unwrap_or_else(|error| panic!("{error}: {script}"))
    }

    /// As [`run`](Self::run) of a script that calls `arguments[0]` with its result.
    pub fn run_async(&self, script: &str) -> Value {
        let done = self.runtime.block_on(self.client.execute_async(script, Vec::new()));
        done.unwrap_or_else(|error| panic!("{error}: {script}"))
    }

    /// What the console of the browser complained of since it was asked last.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.driver_command("se/log", &json!({"type": "browser"}));
        let is_bad = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_string();
        entries.as_array().unwrap().iter().filter(is_bad).map(text).collect()
    }

    /// Sets the size of the window and the preferred colours.
    pub fn look_at(&self, (width, height): (u32, u32), scheme: &str) {
        let is_phone = width < 600;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Pictures of the whole page, in `target/screenshots`: light, dark, and as wide as a phone. Gives what is
    /// wrong with it in each of them.
    pub fn pictures(&self, name: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (size, scheme, suffix) in [
            (DESKTOP, "light", "light"),
            (DESKTOP, "dark", "dark"),
            (PHONE, "light", "390"),
            (PHONE, "dark", ""),
        ] {
            self.look_at(size, scheme);
            let found = self.faults();
            faults.extend(found.into_iter().map(|fault| format!("{name}, {} px, {scheme}: {fault}", size.0)));
            if !suffix.is_empty() {
                self.picture(&format!("{name}-{suffix}"));
            }
        }
        self.look_at(DESKTOP, "light");
        faults
    }

    fn picture(&self, name: &str) {
        let size = self.run(
            "const page = document.documentElement; \
             return [page.clientWidth, Math.max(page.scrollHeight, window.innerHeight)]",
        );
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let whole = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.devtools("Page.captureScreenshot", &whole);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let png = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// What would keep somebody from using the page: see the script.
    pub fn faults(&self) -> Vec<String> {
        let faults = self.run(include_str!("faults.js"));
        let text = |fault: &Value| fault.as_str().unwrap().to_string();
        faults.as_array().unwrap().iter().map(text).collect()
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.driver_command("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn driver_command(&self, name: &str, body: &Value) -> Value {
        let json = [("Content-Type", "application/json")];
        let answer = post(&format!("{}/{name}", self.session), &json, &body.to_string());
        assert_eq!(answer.status, 200, "{name}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends in order; what does not goes with its driver.
        let _ = self.runtime.block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(5), self.client.clone().close()).await
        });
        let _ = self.driver.0.try_wait();
    }
}
