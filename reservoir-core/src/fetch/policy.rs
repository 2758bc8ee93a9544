//! Which IP addresses may be connected to.
//!
//! From the IANA special-purpose registries (RFC 6890 and its successors) and RFC 6052, 4291, 6598.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere on the internet.
    Public,
    /// Inside a site or a machine: for registries that were configured so, and nobody else.
    Private(&'static str),
    /// No place for a registry: link-local (where clouds keep credentials), multicast, reserved. A name never
    /// leads here; only the literal address in a registry's own configuration does.
    Never(&'static str),
}

impl Reach {
    /// Of an address, seen through the forms that embed IPv4 in IPv6.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    #[expect(clippy::match_same_arms, reason = "an arm for each network that deserves a word")]
    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Private("loopback"),
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private("private (RFC 1918)"),
            [100, 64..=127, ..] => Self::Private("shared, carrier-grade NAT (RFC 6598)"),
            [169, 254, ..] => Self::Never("link-local"),
            [0, ..] => Self::Never("unspecified"),
            [224..=239, ..] => Self::Never("multicast"),
            [240..=255, ..] => Self::Never("reserved or broadcast"),
            [192, 0, 0, _] => Self::Never("protocol assignments"),
            // Documentation networks (RFC 5737) are nobody's internal hosts; closed sites number the gateways
            // that stand for the internet with them.
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Public,
            [192, 88, 99, _] => Self::Never("6to4 relay"),
            [198, 18..=19, ..] => Self::Never("benchmarking"),
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() {
            return Self::Private("loopback");
        }
        if address.is_unspecified() {
            return Self::Never("unspecified");
        }
        let segments = address.segments();
        let [.., high, low] = segments;
        let embedded = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
        match segments {
            // IPv4-mapped, and NAT64's well-known prefix: the same host by another name.
            [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Self::of_v4(embedded),
            [0xfc00..=0xfdff, ..] => Self::Private("unique local"),
            [0xfe80..=0xfebf, ..] => Self::Never("link-local"),
            [0xfec0..=0xfeff, ..] => Self::Never("site-local (deprecated)"),
            [0xff00..=0xffff, ..] => Self::Never("multicast"),
            [0x2001, 0..=0x1ff, ..] => Self::Never("protocol assignments (Teredo, ORCHID…)"),
            [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Never("documentation"),
            [0x2002, ..] => Self::Never("6to4"),
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Never("not global unicast"),
        }
    }

    /// Why a page's link may not lead here; `None` when it may.
    #[must_use]
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Public => None,
            Self::Private(class) | Self::Never(class) => Some(class),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn public_addresses_pass() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "203.0.113.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(Reach::of(text.parse().unwrap()), Reach::Public, "{text}");
        }
    }

    #[test]
    fn everything_special_is_refused() {
        for text in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(Reach::of(text.parse().unwrap()).refusal().is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn mapping_into_ipv6_changes_nothing(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            prop_assert_eq!(Reach::of(v4.into()), Reach::of(v4.to_ipv6_mapped().into()));
        }
    }
}
