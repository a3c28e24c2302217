fn main() {
    let options = sg_agent::datapath::Options {
        bpffs: std::env::args().nth(1).unwrap().into(),
        max_flows: 262144,
        max_interfaces: 1024,
    };
    match sg_agent::datapath::Datapath::open(&options) {
        Ok(d) => {
            println!("ok now={} t/1000s={} cap={}", d.now(), d.ticks_per_1000s(), d.capacity())
        }
        Err(e) => println!(
            "{}",
            e.to_string().chars().take(200).collect::<String>()
                + "\n...\n"
                + &{
                    let s = e.to_string();
                    let n = s.len();
                    s[n.saturating_sub(9000)..].to_string()
                }
        ),
    }
}
