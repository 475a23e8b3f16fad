use super::TemplateSample;

/// The rewritten text before the added labels, for samples that are not copied from their body.
/// They have a renamed label or a bound that was made canonical.
///
/// Other bodies use the same text for the same series. Copied samples have no prefix here: reading
/// only the end of a line is slower than copying the whole line, because its position cannot be
/// prefetched.
#[derive(Debug, Default)]
pub(in super::super) struct RewrittenPrefixes {
    text: Vec<u8>,
    prefixes: Vec<RewrittenPrefix>,
}

#[derive(Clone, Copy, Debug)]
struct RewrittenPrefix {
    start: usize,
    length: u32,
    /// Whether the sample has labels. It is stored to avoid reading the text.
    has_braces: bool,
    /// The position in the original line from which the rest is copied.
    rest: u32,
}

impl RewrittenPrefixes {
    /// Adds the prefix of the next sample, if it has one.
    pub(in super::super) fn push(&mut self, prefix: Option<&[u8]>) {
        let prefix = prefix.unwrap_or_default();
        let (start, length) = (self.text.len(), prefix.len() as u32);
        self.prefixes.push(RewrittenPrefix { start, length, has_braces: false, rest: 0 });
        self.text.extend_from_slice(prefix);
    }

    pub(super) fn memory(&self) -> usize {
        self.text.capacity() + self.prefixes.capacity() * size_of::<RewrittenPrefix>()
    }

    /// Determines for which samples the rest of the line can be copied.
    pub(super) fn join(&mut self, samples: &mut [TemplateSample], body: &[u8]) {
        self.text.shrink_to_fit();
        self.prefixes.shrink_to_fit();
        for (sample, prefix) in samples.iter_mut().zip(&mut self.prefixes) {
            prefix.has_braces = sample.has_braces;
            let line = body.get(sample.offset as usize..).unwrap_or_default();
            let series = line.get(..usize::from(sample.end)).unwrap_or_default();
            let rest: &[u8] = if sample.has_braces { b"} " } else { b" " };
            if let Some(before) = series.strip_suffix(rest) {
                // The position is not after the end of the series, which fits.
                sample.rest = before.len() as u16;
                prefix.rest = sample.rest.into();
            }
        }
    }

    /// The prefix of sample `i`, whether it has labels, and the position of the rest.
    #[inline(always)]
    pub(in super::super) fn get(&self, i: usize) -> Option<(&[u8], bool, usize)> {
        let RewrittenPrefix { start, length, has_braces, rest } = *self.prefixes.get(i)?;
        let text = self.text.get(start..start + length as usize)?;
        Some((text, has_braces, rest as usize))
    }
}
