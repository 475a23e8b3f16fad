//! The fields of gorouter's JSON that are used, borrowed from the body.
//!
//! Deserialized by hand, because a derived implementation would reject duplicate fields and
//! unexpected types.

use super::{
    address,
    endpoint::{DEFAULT_PROCESS_TYPE, Endpoint},
};
use crate::domain::{App, OrganizationGuid, SpaceGuid};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt, net::SocketAddr};

/// A text, a flag or a number. Other types count as missing.
#[derive(Debug, Default)]
pub(super) enum Scalar<'a> {
    #[default]
    Nothing,
    Flag(bool),
    Count(u64),
    Text(Cow<'a, str>),
}

impl Scalar<'_> {
    /// The text. An empty text counts as missing.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(super) fn or_empty(&self) -> &str {
        self.text().unwrap_or_default()
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Flag(true))
    }

    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(*count),
            _ => None,
        }
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_u64<E>(self, count: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Count(count))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ScalarVisitor)
    }
}

#[derive(Debug, Default)]
pub(super) struct WireEndpoint<'a> {
    pub(super) address: Scalar<'a>,
    pub(super) availability_zone: Scalar<'a>,
    pub(super) isolation_segment: Scalar<'a>,
    pub(super) route_service_url: Scalar<'a>,
    pub(super) server_cert_domain_san: Scalar<'a>,
    pub(super) tls: Scalar<'a>,
    private_instance_id: Scalar<'a>,
    protocol: Scalar<'a>,
    pub(super) tags: WireTags<'a>,
}

/// Metric tags that Cloud Controller sets on the processes of apps.
#[derive(Debug, Default)]
pub(super) struct WireTags<'a> {
    pub(super) app_id: Scalar<'a>,
    pub(super) app_name: Scalar<'a>,
    pub(super) space_id: Scalar<'a>,
    pub(super) space_name: Scalar<'a>,
    pub(super) organization_id: Scalar<'a>,
    pub(super) organization_name: Scalar<'a>,
    /// The tag `instance_id`.
    pub(super) index: Scalar<'a>,
    process_type: Scalar<'a>,
    process_instance_id: Scalar<'a>,
}

impl<'a> WireEndpoint<'a> {
    pub(super) fn field(&mut self, name: &str) -> Option<&mut Scalar<'a>> {
        Some(match name {
            "address" => &mut self.address,
            "availability_zone" => &mut self.availability_zone,
            "isolation_segment" => &mut self.isolation_segment,
            "private_instance_id" => &mut self.private_instance_id,
            "protocol" => &mut self.protocol,
            "route_service_url" => &mut self.route_service_url,
            "server_cert_domain_san" => &mut self.server_cert_domain_san,
            "tls" => &mut self.tls,
            _ => return None,
        })
    }

    /// IP address and port. None for a host name or port 0.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        address::socket(self.address.text()?)
    }

    pub(super) fn process_type(&self) -> &str {
        self.tags.process_type.text().unwrap_or(DEFAULT_PROCESS_TYPE)
    }

    /// The tag, otherwise the field with the same meaning.
    pub(super) fn process_instance_id(&self) -> Option<&str> {
        self.tags.process_instance_id.text().or(self.private_instance_id.text())
    }

    pub(super) fn is_http2(&self) -> bool {
        self.protocol.text() == Some("http2")
    }

    /// Whether `known` is the same endpoint. The caller has compared the address.
    pub(super) fn describes(&self, known: &Endpoint) -> bool {
        self.tags.app_id.text() == Some(known.app.id.as_str())
            && self.process_instance_id() == known.process_instance_id.as_deref()
            && self.tags.index.text() == known.index.as_deref()
            && self.process_type() == &*known.process_type
            && self.availability_zone.text() == known.availability_zone.as_deref()
            && self.tls.is_true() == known.tls
            && self.is_http2() == known.http2
            && self.server_cert_domain_san.text() == known.server_cert_domain_san.as_deref()
            && self.isolation_segment.text() == known.isolation_segment.as_deref()
            && self.route_service_url.text() == known.route_service_url.as_deref()
            && self.tags.describe(&known.app)
    }
}

impl<'a> WireTags<'a> {
    fn field(&mut self, name: &str) -> Option<&mut Scalar<'a>> {
        Some(match name {
            "app_id" => &mut self.app_id,
            "app_name" => &mut self.app_name,
            "instance_id" => &mut self.index,
            "organization_id" => &mut self.organization_id,
            "organization_name" => &mut self.organization_name,
            "process_instance_id" => &mut self.process_instance_id,
            "process_type" => &mut self.process_type,
            "space_id" => &mut self.space_id,
            "space_name" => &mut self.space_name,
            _ => return None,
        })
    }

    /// Whether `known` is the same app. The caller has compared the id.
    pub(super) fn describe(&self, known: &App) -> bool {
        self.app_name.or_empty() == &*known.name
            && self.space_name.or_empty() == &*known.space_name
            && self.organization_name.or_empty() == &*known.organization_name
            && self.space_id.text() == known.space_id.as_ref().map(SpaceGuid::as_str)
            && self.organization_id.text()
                == known.organization_id.as_ref().map(OrganizationGuid::as_str)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = WireEndpoint<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an endpoint")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut endpoint = WireEndpoint::default();
        while let Some(name) = map.next_key::<Scalar<'de>>()? {
            match name.or_empty() {
                "tags" => endpoint.tags = map.next_value()?,
                name => match endpoint.field(name) {
                    Some(field) => *field = map.next_value()?,
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
            }
        }
        Ok(endpoint)
    }
}

impl<'de> Deserialize<'de> for WireEndpoint<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(EndpointVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = WireTags<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags")
    }

    /// gorouter writes `null` for an endpoint without tags.
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(WireTags::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tags = WireTags::default();
        while let Some(name) = map.next_key::<Scalar<'de>>()? {
            match tags.field(name.or_empty()) {
                Some(field) => *field = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(tags)
    }
}

impl<'de> Deserialize<'de> for WireTags<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(TagsVisitor)
    }
}
