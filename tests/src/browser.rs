//! Chromium without a window, by the DevTools protocol over a pipe: JSON messages that end with a zero byte.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Running, eventually};

/// Longest time that the browser may take for one message, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs Chromium: descriptor 3 is what it reads, 4 what it writes.
const START: &str = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
     --remote-debugging-pipe --no-first-run --disable-background-networking --disable-component-update \
     --disable-sync --disable-extensions --hide-scrollbars --force-color-profile=srgb --user-data-dir=\"$0\" 3<&0 4>&1 \
     </dev/null >/dev/null 2>&1";

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    requests: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    next: u64,
    /// Errors of the page, and the addresses that it asked for.
    pub complaints: Vec<String>,
    /// Every address that the page asked for.
    pub asked: Vec<String>,
    _process: Running,
}

impl Browser {
    /// Starts it in this thread's namespace; `profile` is a directory for its files.
    ///
    /// # Panics
    ///
    /// Panics if Chromium is not installed or does not answer.
    pub fn start(profile: &Path) -> Self {
        let found = Command::new("chromium").arg("--version").output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "this test needs `chromium`: apt-get install chromium"
        );
        let mut process = Command::new("sh")
            .args(["-c", START])
            .arg(profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let requests = process.stdin.take().expect("piped");
        let mut output = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output
                .read_until(0, &mut message)
                .is_ok_and(|count| count > 0)
            {
                message.pop();
                let value = serde_json::from_slice(&message).expect("JSON of the browser");
                message.clear();
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            requests,
            messages,
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            asked: Vec::new(),
            _process: Running(process),
        };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        for part in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{part}.enable"), json!({}));
        }
        // As if its window were in front.
        let front = json!({"enabled": true});
        browser.call("Emulation.setFocusEmulationEnabled", front);
        browser
    }

    /// Calls a method, and returns its result.
    ///
    /// # Panics
    ///
    /// Panics if the browser refuses or does not answer.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.try_call(method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.next += 1;
        let mut request = json!({"id": self.next, "method": method, "params": params});
        if !self.session.is_empty() {
            request["sessionId"] = Value::from(self.session.as_str());
        }
        let mut line = request.to_string().into_bytes();
        line.push(0);
        self.requests.write_all(&line).expect("the browser reads");
        loop {
            let message = self.messages.recv_timeout(PATIENCE);
            let mut message = message.unwrap_or_else(|_| panic!("{method}: no answer"));
            if message["id"] == self.next {
                return match message["error"].take() {
                    Value::Null => Ok(message["result"].take()),
                    error => Err(error.to_string()),
                };
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params.to_string()),
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            Some("Network.requestWillBeSent") => {
                let address = params["request"]["url"].as_str().unwrap_or_default();
                self.asked.push(address.to_owned());
            }
            _ => {}
        }
    }

    /// Opens an address.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be opened.
    pub fn open(&mut self, address: &str) {
        let opened = self.call("Page.navigate", json!({"url": address}));
        assert!(opened["errorText"].is_null(), "{address}: {opened}");
    }

    /// Returns the value of an expression in the page.
    ///
    /// # Panics
    ///
    /// Panics if it throws.
    pub fn eval(&mut self, expression: &str) -> Value {
        let value = self.try_eval(expression);
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, String> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.try_call("Runtime.evaluate", params)?;
        match result["exceptionDetails"].take() {
            Value::Null => Ok(result["result"]["value"].take()),
            exception => Err(exception.to_string()),
        }
    }

    /// Waits until an expression is true in the page.
    ///
    /// # Panics
    ///
    /// Panics with the expression if that takes longer than a minute.
    pub fn wait_for(&mut self, expression: &str) {
        let is_true = format!("Boolean({expression})");
        // While a page is loaded there may be nothing yet, or no page at all.
        eventually(expression, || {
            self.try_eval(&is_true) == Ok(Value::Bool(true))
        });
    }

    /// Chooses the size and the colours that the system prefers.
    pub fn look_like(&mut self, width: u32, height: u32, theme: &str) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Returns the page as PNG, in base64.
    ///
    /// # Panics
    ///
    /// Panics if the browser gives none.
    pub fn picture(&mut self) -> String {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        picture["data"].as_str().expect("a picture").to_owned()
    }
}
