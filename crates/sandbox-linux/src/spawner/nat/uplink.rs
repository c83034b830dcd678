//! By which interface this host reaches the world. Pure: reads the kernel's tables of routes.

/// The interface of the default route in `/proc/net/route`, the one with the lowest metric.
///
/// Source: Linux `net/ipv4/fib_trie.c`, `fib_route_seq_show`: name, destination, gateway, flags, use counts, metric, mask.
pub(super) fn v4(table: &str) -> Option<&str> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, "00000000", _, flags, _, _, metric, "00000000", ..] = fields[..] else {
            return None;
        };
        is_usable(u32::from_str_radix(flags, 16).ok()?).then_some((metric.parse::<u32>().ok()?, name))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// The same of `/proc/net/ipv6_route`.
///
/// Source: Linux `net/ipv6/route.c`, `rt6_info_route`: destination, its length, source, its length, gateway, metric, use
/// counts, flags, name; all numbers hexadecimal.
pub(super) fn v6(table: &str) -> Option<&str> {
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "00", _, "00", _, metric, _, _, flags, name] = fields[..] else {
            return None;
        };
        let number = |text| u32::from_str_radix(text, 16).ok();
        (is_usable(number(flags)?) && name != "lo").then_some((number(metric)?, name))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// Up, and not one that refuses. Source: Linux `include/uapi/linux/route.h`, `RTF_UP`, `RTF_REJECT`.
fn is_usable(flags: u32) -> bool {
    flags & 1 != 0 && flags & 0x200 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let lan = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let wifi = "wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n";
        let wire = "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        let refused = "lo\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(v4(head), None);
        assert_eq!(v4(&[head, lan].concat()), None);
        assert_eq!(v4(&[head, lan, wifi, wire].concat()), Some("eth0"));
        assert_eq!(v4(&[head, wifi, refused].concat()), Some("wlan0"));
        assert_eq!(v4("nonsense\nmore of it\n"), None);
    }

    #[test]
    fn so_it_does_with_ipv6() {
        let zeros = "0".repeat(32);
        let line = |metric: &str, flags: &str, name: &str| {
            format!("{zeros} 00 {zeros} 00 {zeros} {metric} 00000001 00000000 {flags}     {name}\n")
        };
        let unreachable = line("ffffffff", "00200200", "lo");
        let router = line("00000400", "00000003", "eth0");
        let other = line("00000600", "00000003", "eth1");
        assert_eq!(v6(&unreachable), None);
        assert_eq!(v6(&[unreachable, other, router].concat()), Some("eth0"));
        let local = format!(
            "fe80{} 40 {zeros} 00 {zeros} 00000100 1 0 00000001 eth0\n",
            "0".repeat(28)
        );
        assert_eq!(v6(&local), None);
    }
}
