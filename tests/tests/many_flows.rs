//! Many flows at once, by real sockets: none is in another one's way.

use sg_tests::{FAMILIES, matrix, probe::udp};

matrix! {
    fn each_of_many_flows_has_its_answers(world) {
        world.apply(&["in"], r#"
            [[security_group]]
            name = "in"
            ingress = [{ protocol = "udp", ports = 53, cidrs = ["10.9.0.0/16", "fd09::/16"] }]
            egress = []
        "#);
        for at in FAMILIES {
            let _server = udp::serve(&world.instance, at.instance_port(53));
            let ((), counts) = world.counted(|| {
                let flows: Vec<_> =
                    (0..300).map(|_| udp::open(&world.remote, at.remote, at.instance_port(53))).collect();
                for flow in flows.iter().chain(&flows) {
                    flow.passes();
                }
            });
            counts.exactly(&[("ingress rule", 300), ("ingress flow", 300), ("egress flow", 600)]);
        }
    }
}
