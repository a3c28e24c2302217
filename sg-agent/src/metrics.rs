//! Prometheus over HTTP: what `status` shows, as counters.

use axum::{
    Router, extract::State, http::StatusCode, http::header, response::IntoResponse, routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::net::TcpListener;

use crate::{
    api::{Counters, InterfaceStatus, Status},
    dataplane::Dataplane,
    owner::mailbox::Mailbox,
};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `GET /metrics` until the process ends.
pub async fn serve<D: Dataplane>(listener: TcpListener, agent: Mailbox<D>) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(scrape::<D>)).with_state(agent);
    axum::serve(listener, router).await
}

async fn scrape<D: Dataplane>(State(agent): State<Mailbox<D>>) -> impl IntoResponse {
    let Ok(status) = agent.ask(|owner| owner.status()).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text(&status)).into_response()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Judged {
    interface: String,
    direction: &'static str,
    verdict: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Interface {
    interface: String,
}

/// The data path keeps the numbers, so that each scrape copies them into a registry of its own.
#[derive(Default)]
struct Families {
    packets: Family<Judged, Counter>,
    bytes: Family<Judged, Counter>,
    flows: Family<Interface, Gauge>,
    filtered: Family<Interface, Gauge>,
    capacity: Gauge,
    revision: Gauge,
    rules: Gauge,
}

fn text(status: &Status) -> String {
    let families = Families::default();
    families.revision.set(gauge(status.revision));
    families.rules.set(gauge(status.rules as u64));
    for interface in &status.interfaces {
        families.capacity.set(gauge(interface.flows.capacity));
        families.add(interface);
    }
    let mut text = String::new();
    match encode(&mut text, &families.registry()) {
        Ok(()) => text,
        // Writing to a string does not fail.
        Err(_) => String::new(),
    }
}

impl Families {
    fn add(&self, status: &InterfaceStatus) {
        let label = Interface { interface: status.name.clone() };
        self.flows.get_or_create(&label).set(gauge(status.flows.used));
        self.filtered.get_or_create(&label).set(i64::from(status.datapath != "none"));
        for (direction, counters) in [("ingress", &status.ingress), ("egress", &status.egress)] {
            self.add_direction(&status.name, direction, counters);
        }
    }

    fn add_direction(&self, interface: &str, direction: &'static str, counters: &Counters) {
        for (verdict, reasons) in [("allow", &counters.allowed), ("deny", &counters.dropped)] {
            for (reason, count) in reasons {
                let reason = reason.clone();
                let judged = Judged { interface: interface.to_owned(), direction, verdict, reason };
                self.packets.get_or_create(&judged).inc_by(count.packets);
                self.bytes.get_or_create(&judged).inc_by(count.bytes);
            }
        }
    }

    fn registry(self) -> Registry {
        let mut registry = Registry::with_prefix("sg");
        registry.register("packets", "Packets judged, by reason", self.packets);
        registry.register("bytes", "Bytes judged, link layer included, by reason", self.bytes);
        registry.register("flows", "Tracked flows of the interface", self.flows);
        registry.register("flows_capacity", "Flows that the table has room for", self.capacity);
        registry.register("interface_filtered", "1: filtered; 0: should be", self.filtered);
        registry.register("revision", "Revision of the rules in force", self.revision);
        registry.register("rules", "Rules in force", self.rules);
        registry
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Count, FlowUse};

    #[test]
    fn every_figure_of_the_status_is_a_metric() {
        let mut ingress = Counters::default();
        ingress.dropped.insert("no_rule".into(), Count { packets: 3, bytes: 180 });
        let interface = InterfaceStatus {
            name: "tap\"0".into(),
            ifindex: 1,
            role: "port".into(),
            datapath: "tcx".into(),
            datapath_reason: String::new(),
            others: Vec::new(),
            groups: Vec::new(),
            ingress,
            egress: Counters::default(),
            flows: FlowUse { used: 7, capacity: 1000 },
        };
        let status = Status {
            version: String::new(),
            pid: 1,
            revision: 4,
            kernel: String::new(),
            confirm_until: None,
            rules: 9,
            interfaces: vec![interface],
        };
        let text = text(&status);
        let labels = r#"{interface="tap\"0",direction="ingress",verdict="deny",reason="no_rule"}"#;
        for line in [
            format!("sg_packets_total{labels} 3"),
            format!("sg_bytes_total{labels} 180"),
            r#"sg_flows{interface="tap\"0"} 7"#.to_owned(),
            r#"sg_interface_filtered{interface="tap\"0"} 1"#.to_owned(),
            "sg_flows_capacity 1000".to_owned(),
            "sg_revision 4".to_owned(),
            "sg_rules 9".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
