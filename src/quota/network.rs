//! An address or a network that requests may come from, in CIDR notation (RFC 4632, RFC 4291).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Bits of an address of IPv6 before the one of IPv4 that is written in it (RFC 4291, section 2.5.5.2).
const MAPPED: u8 = 96;

// === impl Network ===

impl Network {
    /// Whether an address lies in it; one of IPv4 that is written as IPv6 is the same address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address == masked(address.to_canonical(), self.bits) && self.address.is_ipv4() == address.to_canonical().is_ipv4()
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0)).into(),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("'{text}' is no address or network: write it as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or_else(wrong))?;
        // One of IPv4 that is written as IPv6 is the same network.
        let (address, bits) = match address.to_canonical() {
            canonical if canonical == address => (address, bits),
            canonical => {
                let few = || {
                    format!(
                        "'{text}' is no network: one of IPv4 that is written as IPv6 has {MAPPED} bits and more, as ::ffff:10.0.0.0/104"
                    )
                };
                (canonical, bits.checked_sub(MAPPED).ok_or_else(few)?)
            }
        };
        match masked(address, bits) == address {
            true => Ok(Network { address, bits }),
            false => Err(format!("'{text}' has bits set beside its network: write {}/{bits}", masked(address, bits))),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.bits) {
            (IpAddr::V4(address), 32) => address.fmt(f),
            (IpAddr::V6(address), 128) => address.fmt(f),
            (address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_lie_in_their_networks() {
        let cases = [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("::ffff:10.1.2.3", "::ffff:10.1.2.4", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
            ("::ffff:0:0/96", "8.8.8.8", true),
            ("::ffff:0:0/96", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ];
        for (network, address, is_in) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), is_in, "{network} {address}");
        }
        for wrong in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "host", "::ffff:0:0/95", "::ffff:10.0.0.0/100"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let written: Network = "::ffff:10.0.0.0/104".parse().unwrap();
        assert_eq!(written.to_string(), "10.0.0.0/8");
    }
}
