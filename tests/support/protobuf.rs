//! A minimal protobuf encoder and decoder for exporters and responses in tests.

/// The `Content-Type` of delimited `MetricFamily` messages.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// A field with an unsigned number (`uint32`, `uint64`, `enum`).
pub fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field with a signed number (`sint32`, `sint64`).
pub fn signed(field: u64, value: i64) -> Vec<u8> {
    number(field, ((value << 1) ^ (value >> 63)) as u64)
}

/// A field with a `double`.
pub fn double(field: u64, value: f64) -> Vec<u8> {
    [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

/// A field with a string.
pub fn text(field: u64, value: &str) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.as_bytes().to_vec()].concat()
}

/// A field with a message.
pub fn message(field: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    [varint(field << 3 | 2), delimited(parts)].concat()
}

/// A message, preceded by its length.
pub fn delimited(parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    [varint(content.len() as u64), content].concat()
}

/// The messages of a length-delimited body, without their lengths.
pub fn messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let length = usize::try_from(take_varint(&mut body)).expect("the length fits into usize");
        let (message, rest) = body.split_at(length);
        messages.push(message.to_vec());
        body = rest;
    }
    messages
}

/// The contents of all length-delimited fields with the number `wanted`.
pub fn fields(mut message: &[u8], wanted: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message);
        match tag & 7 {
            0 => _ = take_varint(&mut message),
            1 => message = &message[8..],
            2 => {
                let length =
                    usize::try_from(take_varint(&mut message)).expect("the length fits into usize");
                let (content, rest) = message.split_at(length);
                if tag >> 3 == wanted {
                    found.push(content.to_vec());
                }
                message = rest;
            }
            wire_type => panic!("wire type {wire_type}"),
        }
    }
    found
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
