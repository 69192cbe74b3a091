//! The pages in Chromium, which reaches them through the TUN device, over the stack's own TCP.
//!
//! With `NETSTACK_PICTURES=DIRECTORY` in the environment the pictures of the pages are written there.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tests::browser::Browser;
use tests::world::{SetOnDrop, V4, in_namespace, port};

use super::{echo, world};

/// Returns the least contrast of texts with what is behind them (WCAG 2, 1.4.3).
const CONTRAST: &str = r#"(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const light = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255);
        const [red, green, blue] = parts.map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\)$/.test(colour)) return colour;
        }
        return "white";
    };
    const texts = document.querySelectorAll("h1, h2, p, td, th, a, dt, dd, span.chip, label");
    const ratios = [...texts].filter((node) => node.textContent.trim() && node.checkVisibility()).map((node) => {
        const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
    return ratios.length > 10 ? Math.min(...ratios) : 0;
})()"#;

struct Pages {
    browser: Browser,
    base: String,
    pictures: Option<PathBuf>,
}

impl Pages {
    /// Goes to a page and waits until `is_there` holds; looks at it in both colours.
    #[track_caller]
    fn visit(&mut self, name: &str, hash: &str, is_there: &str) {
        self.browser.eval(&format!("location.hash = {hash:?}"));
        self.browser.wait_for(is_there);
        let mut papers = Vec::new();
        for theme in ["light", "dark"] {
            self.browser.look_like(1280, 860, theme);
            papers.push(
                self.browser
                    .eval("getComputedStyle(document.body).backgroundColor"),
            );
            let contrast = self.browser.eval(CONTRAST).as_f64().unwrap_or_default();
            assert!(contrast >= 4.5, "{name} {theme}: contrast {contrast}");
            if let Some(directory) = &self.pictures {
                let bytes = STANDARD.decode(self.browser.picture()).expect("base64");
                let path = directory.join(format!("dashboard-{name}-{theme}.png"));
                fs::write(path, bytes).expect("a picture is written");
            }
        }
        assert_ne!(papers[0], papers[1], "{name}");
        let width = self
            .browser
            .eval("document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(width, true, "{name} is wider than the window");
    }

    fn text(&mut self, selector: &str) -> String {
        let text = self.browser.eval(&format!(
            "document.querySelector({selector:?})?.textContent ?? ''"
        ));
        text.as_str().unwrap_or_default().to_owned()
    }
}

/// Sends bytes to the discard service for as long as the test runs.
fn pump(is_over: &AtomicBool) {
    let mut stream = TcpStream::connect((V4, port::DISCARD)).expect("a service");
    let piece = [7; 32 << 10];
    while !is_over.load(Ordering::Relaxed) && stream.write_all(&piece).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_pages_show_what_happens_in_both_colours() {
    in_namespace(|| {
        let address = format!("{V4}:8080");
        let world = world(
            "pages",
            &["--dashboard", &address, "--queues", "2", "--mtu", "1400"],
        );
        let flow = echo();
        let closed = SocketAddr::from((V4, port::CLOSED));
        assert!(TcpStream::connect(closed).is_err());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| pump(&is_over));
            let _over = SetOnDrop(&is_over);
            let mut pages = Pages {
                browser: Browser::start(&world.scratch.path("chromium")),
                base: format!("http://{address}"),
                pictures: std::env::var_os("NETSTACK_PICTURES").map(PathBuf::from),
            };
            pages.browser.look_like(1280, 860, "light");
            let base = pages.base.clone();
            pages.browser.open(&format!("{base}/"));
            look_around(&mut pages, &flow.local_addr().expect("bound").to_string());
            by_keyboard(&mut pages);
            // What is asked about a connection that is none is answered so.
            pages
                .browser
                .complaints
                .retain(|one| !one.contains("/api/flow?"));
            assert_eq!(pages.browser.complaints, [""; 0]);
            let elsewhere: Vec<&String> = pages
                .browser
                .asked
                .iter()
                .filter(|one| !one.starts_with(&base))
                .collect();
            assert!(
                elsewhere.is_empty() && pages.browser.asked.len() > 20,
                "{elsewhere:?}"
            );
        });
    });
}

fn look_around(pages: &mut Pages, peer: &str) {
    // More than one sample, and traffic in it.
    pages.visit(
        "overview",
        "#/",
        "document.querySelector('#live').dataset.state === 'on' && \
         /[1-9].*b\\/s/.test(document.querySelector('.tile .value').textContent) && \
         document.querySelectorAll('.tile .spark path.line').length === 3 && \
         document.querySelectorAll('section:nth-child(6) tbody tr').length === 2 && \
         document.querySelector('.chart path.line').getAttribute('d').includes('L')",
    );
    assert!(pages.text("main .meta").contains("MTU 1400"));
    // Among the busiest, which come by themselves.
    pages.browser.wait_for(&format!(
        "document.querySelector('main').textContent.includes({peer:?})"
    ));

    pages.visit(
        "flows",
        "#/flows",
        "document.querySelectorAll('tbody tr').length >= 3",
    );
    pages.browser.eval(&format!(
        "(() => {{ const input = document.querySelector('input'); input.value = {peer:?}; input.dispatchEvent(new Event('input')); }})()"
    ));
    pages
        .browser
        .wait_for("document.querySelectorAll('tbody tr').length === 1");
    assert_eq!(pages.text("tbody a"), peer);
    pages.browser.eval("document.querySelector('input').value = 'no such'; document.querySelector('input').dispatchEvent(new Event('input'))");
    pages
        .browser
        .wait_for("document.querySelector('.empty').checkVisibility()");
    pages.browser.eval("document.querySelector('input').value = ''; document.querySelectorAll('th button')[6].click()");
    pages
        .browser
        .wait_for("document.querySelectorAll('tbody tr').length >= 3");
    assert_eq!(pages.text("th[aria-sort='descending']"), "RTT");

    let busiest = pages.browser.eval(
        "[...document.querySelectorAll('tbody tr')].find((row) => row.textContent.includes(':9')).querySelector('a').hash",
    );
    pages.visit(
        "flow",
        busiest.as_str().expect("a link"),
        "[...document.querySelectorAll('.facts dt')].find((name) => name.textContent === 'Received')?.nextSibling.textContent.includes('iB') && \
         document.querySelector('.chart:not([hidden]) path.line').getAttribute('d').split('L').length > 20",
    );
    assert_eq!(pages.text("main .chip"), "ESTAB");

    pages.visit(
        "drops",
        "#/drops",
        "document.querySelectorAll('tbody tr').length >= 1",
    );
    assert!(
        pages
            .text("tbody")
            .contains("tcp_no_listenerNo connection and no listener.")
    );
    pages.visit(
        "locks",
        "#/locks",
        "document.querySelector('main section:not([hidden])')",
    );
    assert!(pages.text("main section:not([hidden])").contains("lock"));
    pages.visit(
        "buffers",
        "#/buffers",
        "/iB/.test(document.querySelector('.facts dd').parentNode.parentNode.textContent)",
    );
    pages.visit(
        "config",
        "#/config",
        "document.querySelectorAll('tbody tr').length > 50",
    );
    let mtu = "[...document.querySelectorAll('tbody tr')].find((row) => row.cells[0].textContent === 'mtu').textContent";
    assert_eq!(pages.browser.eval(mtu), "mtu1400--mtu–");
    pages
        .browser
        .eval("location.hash = '#/flow?local=10.77.0.2:7&peer=10.77.0.1:1'");
    pages.browser.wait_for(
        "document.querySelector('main').textContent.includes('There is no such connection')",
    );
    pages.browser.eval("location.hash = '#/flows'");
}

/// Loads the page again, and waits until `is_there` holds in the new one.
fn reload(pages: &mut Pages, is_there: &str) {
    pages.browser.eval("window.isOld = true");
    pages.browser.call("Page.reload", json!({}));
    pages
        .browser
        .wait_for(&format!("!window.isOld && {is_there}"));
}

fn by_keyboard(pages: &mut Pages) {
    reload(pages, "document.querySelectorAll('tbody tr').length >= 3");
    let tab = |pages: &mut Pages| {
        for kind in ["rawKeyDown", "keyUp"] {
            let key =
                json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            pages.browser.call("Input.dispatchKeyEvent", key);
        }
    };
    tab(pages);
    assert_eq!(
        pages.browser.eval("document.activeElement.className"),
        "skip"
    );
    let mut reached = Vec::new();
    for _ in 0..40 {
        tab(pages);
        let at = pages
            .browser
            .eval("document.activeElement.textContent.trim() || document.activeElement.tagName");
        reached.push(at.as_str().unwrap_or_default().to_owned());
    }
    for name in ["Overview", "Configuration", "Dark", "INPUT", "RTT"] {
        assert!(
            reached.iter().any(|one| one.starts_with(name)),
            "{name}: {reached:?}"
        );
    }
    // A row that is focused stays so while its numbers change.
    pages
        .browser
        .eval("document.querySelector('tbody a').focus()");
    pages
        .browser
        .eval("window.was = document.querySelector('tbody').textContent");
    pages
        .browser
        .wait_for("document.querySelector('tbody').textContent !== window.was");
    assert_eq!(pages.browser.eval("document.activeElement.tagName"), "A");
    // The choice of colours outlives the page, whatever the system prefers.
    pages.browser.look_like(1280, 860, "light");
    pages.browser.eval("[...document.querySelectorAll('#theme button')].find((one) => one.textContent === 'Dark').click()");
    let paper = pages
        .browser
        .eval("getComputedStyle(document.body).backgroundColor");
    let is_dark =
        "document.querySelector('#theme [aria-pressed=\"true\"]')?.textContent === 'Dark'";
    reload(pages, is_dark);
    assert_eq!(
        pages
            .browser
            .eval("getComputedStyle(document.body).backgroundColor"),
        paper
    );
}
