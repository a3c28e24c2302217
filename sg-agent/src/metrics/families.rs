//! The metrics by name. The data path keeps the numbers, so that each scrape copies them into a
//! registry of its own.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use sg_common::{ABI, Reason};

use crate::{
    api::{Counters, FilterState, InterfaceStatus, Status},
    owner::figures::Figures,
};

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    interface: String,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attached {
    interface: String,
    role: String,
    datapath: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: String,
    kernel: String,
    abi: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFamily {
    family: &'static str,
}

#[derive(Default)]
struct Families {
    packets: Family<Judged, Counter>,
    bytes: Family<Judged, Counter>,
    not_logged: Family<Way, Counter>,
    exceeded: Family<Interface, Counter>,
    flows: Family<Interface, Gauge>,
    max_flows: Family<Interface, Gauge>,
    filtered: Family<Interface, Gauge>,
    attached: Family<Attached, Gauge>,
    build: Family<Build, Gauge>,
    classes: Family<OfFamily, Gauge>,
    capacity: Gauge,
    revision: Gauge,
    unconfirmed: Gauge,
    rules: Gauge,
    image_bytes: Gauge,
    image_pages: Gauge,
}

/// All figures as OpenMetrics.
pub(super) fn text(figures: &Figures) -> String {
    let mut text = String::new();
    let registry = Families::of(figures).registry(figures);
    match encode(&mut text, &registry) {
        Ok(()) => text,
        // Writing to a string does not fail.
        Err(_) => String::new(),
    }
}

impl Families {
    fn of(figures: &Figures) -> Self {
        let families = Self::default();
        let Figures { status, image, capacity, .. } = figures;
        families.add_state(status);
        families.capacity.set(gauge(*capacity));
        families.image_bytes.set(gauge(image.bytes));
        families.image_pages.set(gauge(image.pages));
        for (family, classes) in ["ipv4", "ipv6"].into_iter().zip(image.classes) {
            families.classes.get_or_create(&OfFamily { family }).set(i64::from(classes));
        }
        status.interfaces.iter().for_each(|interface| families.add(interface));
        families
    }

    fn add_state(&self, status: &Status) {
        let build =
            Build { version: status.version.clone(), kernel: status.kernel.clone(), abi: ABI };
        self.build.get_or_create(&build).set(1);
        self.revision.set(gauge(status.revision));
        self.unconfirmed.set(i64::from(status.confirm_until.is_some()));
        self.rules.set(gauge(status.rules as u64));
    }

    fn add(&self, status: &InterfaceStatus) {
        let InterfaceStatus { name, role, datapath, .. } = status;
        let label = Interface { interface: name.clone() };
        self.flows.get_or_create(&label).set(gauge(status.flows.used));
        self.max_flows.get_or_create(&label).set(gauge(status.flows.max));
        let is_filtered = status.state == FilterState::Filtered;
        self.filtered.get_or_create(&label).set(i64::from(is_filtered));
        let attached =
            Attached { interface: name.clone(), role: role.clone(), datapath: datapath.clone() };
        self.attached.get_or_create(&attached).set(1);
        // The counter is there from the start, because an alert waits for its first increase.
        let exceeded = self.exceeded.get_or_create_owned(&label);
        for (direction, counters) in [("ingress", &status.ingress), ("egress", &status.egress)] {
            let refused = counters.dropped.get(Reason::AllowanceExceeded.name());
            exceeded.inc_by(refused.map_or(0, |count| count.packets));
            self.add_direction(name, direction, counters);
        }
    }

    fn add_direction(&self, interface: &str, direction: &'static str, counters: &Counters) {
        let interface = interface.to_owned();
        let way = Way { interface: interface.clone(), direction };
        self.not_logged.get_or_create(&way).inc_by(counters.not_logged.packets);
        for (verdict, reasons) in [("allow", &counters.allowed), ("deny", &counters.dropped)] {
            for (reason, count) in reasons {
                let (interface, reason) = (interface.clone(), reason.clone());
                let judged = Judged { interface, direction, verdict, reason };
                self.packets.get_or_create(&judged).inc_by(count.packets);
                self.bytes.get_or_create(&judged).inc_by(count.bytes);
            }
        }
    }

    fn registry(self, figures: &Figures) -> Registry {
        let Figures { publishing, verification, .. } = figures;
        let mut registry = Registry::with_prefix("sg");
        registry.register("build_info", "Version of agent, kernel and BPF interface", self.build);
        registry.register("packets", "Packets judged, by reason", self.packets);
        registry.register("bytes", "Bytes judged, link layer included, by reason", self.bytes);
        registry.register(
            "conntrack_allowance_exceeded",
            "Packets dropped because there is no room for their flow in the table or in the interface's \
             allowance",
            self.exceeded,
        );
        registry.register("flows", "Tracked flows of the interface", self.flows);
        registry.register("flows_max", "Flows that the interface may have", self.max_flows);
        registry.register("flows_capacity", "Flows that the table has room for", self.capacity);
        registry.register(
            "interface_filtered",
            "1: the kernel confirms that the interface is filtered; 0: it should be, and is not",
            self.filtered,
        );
        registry.register(
            "interface_faults",
            "Times that the kernel did not confirm an attached interface as filtered",
            verification.faults.clone(),
        );
        let took = Gauge::<f64, AtomicU64>::default();
        took.set(verification.took.as_secs_f64());
        registry.register(
            "verification_duration_seconds",
            "Time of the last verification, which asks the kernel about each interface",
            took,
        );
        registry.register(
            "interface_info",
            "How the interface is filtered; data path \"none\": not at all",
            self.attached,
        );
        registry.register("revision", "Revision of the rules in force", self.revision);
        registry.register(
            "revision_unconfirmed",
            "1: the rules in force are rolled back unless they are confirmed",
            self.unconfirmed,
        );
        registry.register("rules", "Rules in force", self.rules);
        registry.register("classes", "Sets of peers that addresses belong to", self.classes);
        registry.register("image_bytes", "Size of the compiled rules in force", self.image_bytes);
        registry.register(
            "image_pages",
            "Size of the compiled rules in force, in pages of 4 KiB",
            self.image_pages,
        );
        registry.register(
            "publish_duration_seconds",
            "Time from a change to the flip: compiling, attaching, storing, writing the image",
            publishing.seconds.clone(),
        );
        registry.register(
            "publish_failures",
            "Changes that did not come into force",
            publishing.failures.clone(),
        );
        registry.register(
            "log_packets_not_logged",
            "Packets that the flow log has no record of, because there were too many",
            self.not_logged,
        );
        registry
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        api::{Count, FilterState, FlowUse},
        owner::{
            figures::{ImageFigures, Publishing},
            verification::Verification,
        },
    };

    #[test]
    fn every_figure_is_a_metric() {
        let mut ingress = Counters::default();
        ingress.dropped.insert("no_rule".into(), Count { packets: 3, bytes: 180 });
        let exceeded = Count { packets: 2, bytes: 120 };
        ingress.dropped.insert("conntrack_allowance_exceeded".into(), exceeded);
        ingress.not_logged.packets = 5;
        let interface = InterfaceStatus {
            name: "tap\"0".into(),
            ifindex: 1,
            role: "port".into(),
            state: FilterState::Filtered,
            fault: None,
            datapath: "tcx".into(),
            datapath_reason: String::new(),
            others: Vec::new(),
            groups: Vec::new(),
            ingress,
            egress: Counters::default(),
            flows: FlowUse { used: 7, capacity: 1000, max: 500 },
        };
        let status = Status {
            version: "1.2.3".into(),
            pid: 1,
            revision: 4,
            kernel: "6.1".into(),
            confirm_until: Some(1),
            rules: 9,
            interfaces: vec![interface],
            control: None,
        };
        let publishing = Publishing::default();
        publishing.seconds.observe(0.004);
        publishing.failures.inc();
        let image = ImageFigures { bytes: 5000, pages: 2, classes: [3, 6] };
        let took = Duration::from_millis(3);
        let mut verification = Verification::default();
        verification.took = took;
        verification.faults.inc();
        let text = text(&Figures { status, image, publishing, verification, capacity: 1000 });
        let labels = r#"{interface="tap\"0",direction="ingress",verdict="deny",reason="no_rule"}"#;
        for line in [
            format!("sg_packets_total{labels} 3"),
            format!("sg_bytes_total{labels} 180"),
            r#"sg_flows{interface="tap\"0"} 7"#.to_owned(),
            r#"sg_flows_max{interface="tap\"0"} 500"#.to_owned(),
            r#"sg_conntrack_allowance_exceeded_total{interface="tap\"0"} 2"#.to_owned(),
            r#"sg_interface_filtered{interface="tap\"0"} 1"#.to_owned(),
            r#"sg_interface_info{interface="tap\"0",role="port",datapath="tcx"} 1"#.to_owned(),
            format!(r#"sg_build_info{{version="1.2.3",kernel="6.1",abi="{ABI}"}} 1"#),
            r#"sg_classes{family="ipv4"} 3"#.to_owned(),
            r#"sg_classes{family="ipv6"} 6"#.to_owned(),
            r#"sg_log_packets_not_logged_total{interface="tap\"0",direction="ingress"} 5"#
                .to_owned(),
            r#"sg_log_packets_not_logged_total{interface="tap\"0",direction="egress"} 0"#
                .to_owned(),
            r#"sg_publish_duration_seconds_bucket{le="0.005"} 1"#.to_owned(),
            "sg_publish_failures_total 1".to_owned(),
            "sg_interface_faults_total 1".to_owned(),
            "sg_verification_duration_seconds 0.003".to_owned(),
            "sg_image_bytes 5000".to_owned(),
            "sg_image_pages 2".to_owned(),
            "sg_flows_capacity 1000".to_owned(),
            "sg_revision 4".to_owned(),
            "sg_revision_unconfirmed 1".to_owned(),
            "sg_rules 9".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
