//! Parses IP addresses of route sources.

use std::net::{IpAddr, SocketAddr};

/// Parses an IP address. IPv6 may have brackets. An IPv4-mapped IPv6 address becomes the IPv4
/// address, so that each instance has one address.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => text.parse().ok()?,
    };
    Some(ip.to_canonical())
}

/// Parses an IP address and a port that is not zero.
///
/// gorouter joins host and port with a colon and adds no brackets, so `::1:8080` is port 8080 of
/// `::1`: the port follows the last colon.
pub(super) fn socket(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|port| is_number && *port != 0)?;
    Some(SocketAddr::new(ip(host)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_address_is_parsed_in_all_formats_of_gorouter() {
        for (text, expected) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]:61001", "[::1]:61001"),
            ("::1:61001", "[::1]:61001"),
            ("2001:DB8:0:0::1:8080", "[2001:db8::1]:8080"),
            ("[2001:db8::1]:8080", "[2001:db8::1]:8080"),
            ("::ffff:10.0.0.1:80", "10.0.0.1:80"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            (":::80", "[::]:80"),
        ] {
            assert_eq!(socket(text).map(|it| it.to_string()).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            ":",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:65536",
            "10.0.0.1:+80",
            "[10.0.0.1]:80",
            "[::1:80",
            "::1]:80",
            "[[::1]]:80",
            "host:80",
            "::1:8080:",
            "[::1]",
        ] {
            assert_eq!(socket(text), None, "{text}");
        }
    }

    #[test]
    fn an_ip_address_may_have_brackets_when_it_is_ipv6() {
        for (text, expected) in
            [("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("[::1]", "::1"), ("[FD00::A]", "fd00::a")]
        {
            assert_eq!(ip(text).map(|it| it.to_string()).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "[]", "[10.0.0.1]", "[::1", "::1]", "::1:80:", "host"] {
            assert_eq!(ip(text), None, "{text}");
        }
    }
}
