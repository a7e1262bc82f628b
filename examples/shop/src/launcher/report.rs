//! What the launcher tells.

use std::collections::BTreeMap;
use std::process::ExitStatus;

use serde_json::{Value, json};

use crate::layout::{Layout, Part};
use crate::process::Ready;

/// Tells what happens: a line for people, or a JSON object.
pub(crate) struct Report {
    pub(crate) json: bool,
}

impl Report {
    pub(super) fn up(&self, part: &Part, pid: u32, ready: &Ready) {
        let modules = part.modules.join(", ");
        self.tell(
            &json!({
                "event": "up", "process": part.name, "pid": pid, "modules": part.modules,
                "http": ready.http, "admin": ready.admin,
            }),
            || {
                let admin =
                    ready.admin.map(|admin| format!(", admin API at http://{admin}/modules"));
                let admin = admin.unwrap_or_default();
                format!("{:<14} is up at http://{} with {modules}{admin}", part.name, ready.http)
            },
        );
    }

    pub(super) fn ended(&self, part: &Part, status: &ExitStatus) {
        self.tell(
            &json!({ "event": "ended", "process": part.name, "status": status.to_string() }),
            || format!("{:<14} has ended ({status}); it is started again", part.name),
        );
    }

    pub(super) fn ready(
        &self,
        layout: Layout,
        parts: &[Part],
        known: &BTreeMap<&'static str, Ready>,
    ) {
        self.tell(
            &json!({ "event": "ready", "layout": format!("{layout:?}").to_lowercase() }),
            || {
                let base = |module: &str| {
                    let part = parts.iter().find(|part| part.modules.contains(&module));
                    let ready = part.and_then(|part| known.get(part.name));
                    ready.map(|ready| format!("http://{}/{module}", ready.http)).unwrap_or_default()
                };
                format!(
                    "\nThe shop is open. Look around, order, and see what became of it:\n\n\
                 \x20 curl {}/items\n\
                 \x20 curl -H 'content-type: application/json' {}/orders \\\n\
                 \x20      -d '{{\"sku\": \"tea\", \"quantity\": 2, \"customer\": \"Ada\"}}'\n\
                 \x20 curl {}/payments/ORDER\n\
                 \x20 curl {}/notifications/ORDER\n\n\
                 Kill a process and see it come back. Ctrl-C closes the shop.",
                    base("catalog"),
                    base("ordering"),
                    base("payment"),
                    base("notification"),
                )
            },
        );
    }

    pub(super) fn closing(&self) {
        self.tell(&json!({ "event": "closing" }), || "The shop closes.".to_owned());
    }

    pub(super) fn say(&self, what: &str, value: &Value) {
        self.tell(&json!({ "event": what, "value": value }), || format!("{what}: {value}"));
    }

    fn tell(&self, json: &Value, text: impl FnOnce() -> String) {
        match self.json {
            true => println!("{json}"),
            false => println!("{}", text()),
        }
    }
}
