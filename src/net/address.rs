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

/// Whether an address is link-local, in whatever form it is written: 169.254.0.0/16, fe80::/10, and the same mapped into
/// IPv6; the metadata service's own address in IPv6 counts as such.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    match embedded(address) {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA_V6,
    }
}

/// Whether an address is one of the machine's own, or of a private network: loopback, RFC 1918, unique local,
/// link-local, or unspecified.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    is_link_local(address)
        || match embedded(address) {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unspecified(),
        }
}

/// The IPv4 address within one of IPv6: mapped (`::ffff:a.b.c.d`), or behind NAT64's well-known prefix.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        return IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    }
    v6.to_canonical()
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
            ("8.8.8.8", false, false),
            ("2600::1", false, false),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(is_link_local(parsed), link_local, "{address}");
            assert_eq!(is_private(parsed), private, "{address}");
        }
    }
}
