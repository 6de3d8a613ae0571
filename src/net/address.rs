//! Addresses that must not be called.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Which of a host's addresses may be called. It sees what a name was resolved to, at each connection, so that no name
/// leads around it.
#[derive(Clone)]
pub struct AddressFilter(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl AddressFilter {
    /// A filter that lets through what `allows` says yes to.
    pub fn new(allows: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> AddressFilter {
        AddressFilter(Arc::new(allows))
    }

    /// All but link-local addresses, among which are those where clouds tell machines their credentials.
    #[must_use]
    pub fn no_link_local() -> AddressFilter {
        AddressFilter::new(|address| !is_link_local(address))
    }

    pub(super) fn allows(&self, address: IpAddr) -> bool {
        (self.0)(address)
    }
}

impl Default for AddressFilter {
    /// Lets everything through.
    fn default() -> AddressFilter {
        AddressFilter::new(|_| true)
    }
}

impl fmt::Debug for AddressFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressFilter")
    }
}

/// The address of the metadata service in IPv6, which is not link-local there.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether an address is link-local, in whatever form it is written: 169.254.0.0/16, fe80::/10, and the former within
/// IPv6; the metadata service's own address in IPv6 counts as such.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6 == METADATA_V6
                || embedded(v6).any(|v4| v4.is_link_local())
        }
    }
}

/// Whether an address is none of the public network: one of this machine or of a private network, link-local, one for
/// many or for nobody, or one that leads to such an address by way of a translator.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            is_link_local(address)
                || v6.is_unique_local()
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                // Site-local, of old.
                || first & 0xffc0 == 0xfec0
                || embedded(v6).any(is_private_v4)
        }
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let within = |net: [u8; 4], bits: u32| {
        let mask = u32::MAX << (32 - bits);
        u32::from(v4) & mask == u32::from(Ipv4Addr::from(net))
    };
    v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || within([0, 0, 0, 0], 8)
        // Behind the provider's translator.
        || within([100, 64, 0, 0], 10)
        || within([192, 0, 0, 0], 24)
        // For measuring networks.
        || within([198, 18, 0, 0], 15)
        // Multicast; reserved, and the last of these is broadcast.
        || within([224, 0, 0, 0], 4)
        || within([240, 0, 0, 0], 4)
}

/// The IPv4 addresses that one of IPv6 may stand for: mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), 6to4, and behind
/// the prefixes of NAT64, of which the local one has two forms.
fn embedded(v6: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let found = match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => [Some(v4(high, low)), None],
        [0x2002, high, low, ..] => [Some(v4(high, low)), None],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [Some(v4(high, low)), None],
        // Eight bits between the halves are 0.
        [0x64, 0xff9b, 1, high, middle, rest, last_high, last_low] => [
            Some(v4(high, (middle << 8) | (rest >> 8))),
            Some(v4(last_high, last_low)),
        ],
        _ => [None, None],
    };
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{is_link_local, is_private};

    #[test]
    fn kinds_of_addresses() {
        for (address, link_local, private) in [
            ("169.254.169.254", true, true),
            ("::ffff:169.254.169.254", true, true),
            ("64:ff9b::a9fe:a9fe", true, true),
            ("fe80::1", true, true),
            ("fd00:ec2::254", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:10.0.0.1", false, true),
            ("0.0.0.0", false, true),
            ("fd00::1", false, true),
            ("192.168.1.1", false, true),
            ("0.1.2.3", false, true),
            ("100.64.0.1", false, true),
            ("100.127.255.255", false, true),
            ("100.128.0.0", false, false),
            ("192.0.0.8", false, true),
            ("192.0.1.1", false, false),
            ("198.18.0.1", false, true),
            ("198.19.255.255", false, true),
            ("198.20.0.0", false, false),
            ("224.0.0.1", false, true),
            ("255.255.255.255", false, true),
            ("::169.254.169.254", true, true),
            ("::10.0.0.1", false, true),
            ("2002:a9fe:a9fe::1", true, true),
            ("2002:0a00:0001::1", false, true),
            ("2002:0808:0808::1", false, false),
            ("64:ff9b::808:808", false, false),
            ("64:ff9b::7f00:1", false, true),
            ("64:ff9b:1:a9fe:a9:fe00:808:808", true, true),
            ("64:ff9b:1::a9fe:a9fe", true, true),
            ("fec0::1", false, true),
            ("ff02::1", false, true),
            ("8.8.8.8", false, false),
            ("2600::1", false, false),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(is_link_local(parsed), link_local, "{address}");
            assert_eq!(is_private(parsed), private, "{address}");
        }
    }
}
