use super::Fact;

/// What those samples start with, up to the added labels, that are not written as their
/// body has them: with a renamed label, or a bound in another form.
///
/// Another body's sample of the same series is written so too, and what had to be done to it
/// was done once. Others are copied from their own body: to read only the
/// end of a line takes longer than to copy all of it, since nothing foresees where it is.
#[derive(Debug, Default)]
pub(in super::super) struct Heads {
    text: Vec<u8>,
    heads: Vec<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    start: usize,
    length: u32,
    /// Whether it has labels; what follows is not looked at for that.
    has_braces: bool,
    /// Where in the line that was read starts what follows on the added labels.
    rest: u32,
}

impl Heads {
    /// Takes the head of the next sample, if it is needed.
    pub(in super::super) fn push(&mut self, head: Option<&[u8]>) {
        let head = head.unwrap_or_default();
        let (start, length) = (self.text.len(), head.len() as u32);
        self.heads.push(Head { start, length, has_braces: false, rest: 0 });
        self.text.extend_from_slice(head);
    }

    /// Finds out behind which heads the rest of the line is written as it was read.
    pub(super) fn join(&mut self, facts: &mut [Fact], body: &[u8]) {
        self.text.shrink_to_fit();
        self.heads.shrink_to_fit();
        for (fact, head) in facts.iter_mut().zip(&mut self.heads) {
            head.has_braces = fact.has_braces;
            let line = body.get(fact.offset as usize..).unwrap_or_default();
            let series = line.get(..usize::from(fact.end)).unwrap_or_default();
            let rest: &[u8] = if fact.has_braces { b"} " } else { b" " };
            if let Some(before) = series.strip_suffix(rest) {
                // No longer than the series is.
                fact.rest = before.len() as u16;
                head.rest = fact.rest.into();
            }
        }
    }

    /// The head of sample `i`, whether it has labels, and where in its line the rest starts.
    #[inline(always)]
    pub(in super::super) fn get(&self, i: usize) -> Option<(&[u8], bool, usize)> {
        let Head { start, length, has_braces, rest } = *self.heads.get(i)?;
        let text = self.text.get(start..start + length as usize)?;
        Some((text, has_braces, rest as usize))
    }
}
