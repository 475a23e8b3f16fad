//! The protobuf wire format: numbered fields and their values.

/// The error for bytes that are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FieldValue<'a> {
    Varint(u64),
    /// The bits of a `double` or another 64-bit type.
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> FieldValue<'a> {
    pub(super) fn varint(self) -> Result<u64, Malformed> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(Malformed) }
    }

    pub(super) fn double(self) -> Result<f64, Malformed> {
        if let Self::Fixed64(bits) = self { Ok(f64::from_bits(bits)) } else { Err(Malformed) }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed) }
    }

    /// The numbers of a repeated field: one, or several if the field is packed.
    pub(super) fn varints(self) -> impl Iterator<Item = Result<u64, Malformed>> {
        let (one, mut rest) = match self {
            Self::Bytes(bytes) => (None, bytes),
            other => (Some(other.varint()), &[][..]),
        };
        one.into_iter().chain(std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| take_varint(&mut rest).inspect_err(|_| rest = &[]))
        }))
    }

    /// The doubles of a repeated field.
    pub(super) fn doubles(self) -> impl Iterator<Item = Result<f64, Malformed>> {
        let (one, mut rest) = match self {
            Self::Bytes(bytes) => (None, bytes),
            other => (Some(other.double()), &[][..]),
        };
        one.into_iter().chain(std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| {
                let bits = take_fixed64(&mut rest).inspect_err(|_| rest = &[]);
                bits.map(f64::from_bits)
            })
        }))
    }
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: FieldValue<'a>,
    /// The bytes of the whole field.
    pub(super) raw: &'a [u8],
}

/// The fields of a message in their order. The iterator ends after an error.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    #[inline]
    fn read(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.rest;
        let tag = u32::try_from(take_varint(&mut self.rest)?).map_err(|_| Malformed)?;
        let value = match tag & 7 {
            0 => FieldValue::Varint(take_varint(&mut self.rest)?),
            1 => FieldValue::Fixed64(take_fixed64(&mut self.rest)?),
            2 => {
                let length = take_varint(&mut self.rest)?;
                FieldValue::Bytes(take(&mut self.rest, length)?)
            }
            5 => {
                take(&mut self.rest, 4)?;
                FieldValue::Fixed32
            }
            // Groups are deprecated and can be nested without limit.
            _ => return Err(Malformed),
        };
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        let raw = start.get(..start.len() - self.rest.len()).unwrap_or_default();
        Ok(Field { number, value, raw })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Takes the next message from a stream of delimited messages.
pub(super) fn take_delimited<'a>(stream: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let before = stream.len();
    let length = take_varint(stream)?;
    // Prometheus reads at most five bytes of length here.
    if before - stream.len() > 5 {
        return Err(Malformed);
    }
    take(stream, length)
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    Ok(taken)
}

#[inline]
fn take_fixed64(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let (taken, after) = rest.split_first_chunk().ok_or(Malformed)?;
    *rest = after;
    Ok(u64::from_le_bytes(*taken))
}

#[inline]
fn take_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    match *rest {
        // Fast path for small numbers.
        [byte, after @ ..] if *byte < 0x80 => {
            *rest = after;
            Ok(u64::from(*byte))
        }
        _ => take_long_varint(rest),
    }
}

fn take_long_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (i, &byte) in rest.iter().enumerate().take(10) {
        // The tenth byte has one bit.
        if i == 9 && byte > 1 {
            return Err(Malformed);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *rest = rest.get(i + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Decodes a `sint32` or `sint64`.
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number of bytes that [`put_varint`] writes.
pub(super) fn varint_length(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

/// The length of a field with a number below 16 and a value of `length` bytes.
pub(super) fn field_length(length: u64) -> u64 {
    1 + varint_length(length) + length
}

pub(super) fn put_varint_field(number: u32, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number << 3), out);
    put_varint(value, out);
}

pub(super) fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_varint(u64::from(number << 3 | 1), out);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Writes the tag and the length of a field.
pub(super) fn put_start(number: u32, length: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number << 3 | 2), out);
    put_varint(length, out);
}

pub(super) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_start(number, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a message whose content is written by `write`.
pub(super) fn put_message(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let length = (out.len() - start) as u64;
    // The length precedes the message, so it is written after it and rotated to the front.
    let end = out.len();
    put_start(number, length, out);
    let head = out.len() - end;
    if let Some(whole) = out.get_mut(start..) {
        whole.rotate_right(head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_as_they_are_written() {
        for value in [0, 1, 127, 128, 300, 1 << 14, u64::from(u32::MAX), 1 << 63, u64::MAX] {
            let mut out = Vec::new();
            put_varint(value, &mut out);
            assert_eq!(out.len() as u64, varint_length(value), "{value}");
            assert_eq!(take_varint(&mut &*out), Ok(value));
            let cut = out.len() - 1;
            assert_eq!(take_varint(&mut &out[..cut]), Err(Malformed), "{value}");
        }
        let nine = [0xff; 9];
        assert_eq!(take_varint(&mut &[&nine[..], &[1]].concat()[..]), Ok(u64::MAX));
        assert_eq!(take_varint(&mut &[&nine[..], &[2]].concat()[..]), Err(Malformed));
        assert_eq!(take_varint(&mut &[&nine[..], &[0x80, 0]].concat()[..]), Err(Malformed));
    }

    #[test]
    fn zigzag_numbers_are_decoded() {
        for (coded, number) in [(0, 0), (1, -1), (2, 1), (3, -2), (u64::MAX, i64::MIN)] {
            assert_eq!(unzigzag(coded), number);
        }
    }

    #[test]
    fn fields_are_parsed_up_to_the_first_error() {
        let read = |bytes: &'static [u8]| Fields::new(bytes).collect::<Vec<_>>();
        let fields = read(b"\x08\x96\x01\x12\x02ab\x1d1234\x21\0\0\0\0\0\0\xf0\x3f");
        let values: Vec<_> = fields.iter().map(|field| field.unwrap().value).collect();
        let one = FieldValue::Fixed64(1_f64.to_bits());
        assert_eq!(
            values,
            [FieldValue::Varint(150), FieldValue::Bytes(b"ab"), FieldValue::Fixed32, one]
        );
        assert_eq!(fields[1].unwrap().raw, b"\x12\x02ab");
        let wrong: [&[u8]; 8] = [
            b"\x08",
            b"\x12\x03ab",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01ab",
            b"\x1d123",
            b"\x211234567",
            b"\x0b\x0c",
            b"\x00\x01",
            b"\xf8\xff\xff\xff\xff\x01\x01",
        ];
        for bytes in wrong {
            assert_eq!(read(bytes), [Err(Malformed)], "{bytes:x?}");
        }
    }

    #[test]
    fn packed_and_single_numbers_are_the_same() {
        let sink = FieldValue::Bytes(b"\x01\x80\x01");
        assert_eq!(sink.varints().collect::<Vec<_>>(), [Ok(1), Ok(128)]);
        assert_eq!(FieldValue::Varint(7).varints().collect::<Vec<_>>(), [Ok(7)]);
        assert_eq!(
            FieldValue::Bytes(b"\x01\x80").varints().collect::<Vec<_>>(),
            [Ok(1), Err(Malformed)]
        );
        assert_eq!(FieldValue::Fixed32.varints().collect::<Vec<_>>(), [Err(Malformed)]);
        let two = [1_f64.to_bits().to_le_bytes(), 2_f64.to_bits().to_le_bytes()].concat();
        assert_eq!(FieldValue::Bytes(&two).doubles().collect::<Vec<_>>(), [Ok(1.0), Ok(2.0)]);
        assert_eq!(FieldValue::Bytes(&two[..9]).doubles().count(), 2);
    }

    #[test]
    fn the_length_of_a_message_precedes_it() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut out = b"x".to_vec();
            put_message(4, &mut out, |out| out.extend(std::iter::repeat_n(b'a', length)));
            let fields: Vec<_> = Fields::new(&out[1..]).collect();
            let bytes = vec![b'a'; length];
            assert_eq!(fields[0].unwrap().value, FieldValue::Bytes(&bytes));
            assert_eq!(out.len() as u64 - 1, field_length(length as u64));
        }
    }
}
