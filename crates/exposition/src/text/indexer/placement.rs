//! Assigns samples to the families of a body.

use std::collections::hash_map::Entry;

use super::{
    super::{
        error::ErrorKind,
        families::Role,
        family_mapping::SourceFamily,
        index::ParseContext,
        index::{IndexedFamily, NameSpan, TextIndex},
        rewrite,
        sample::SourceName,
        sample_check,
    },
    Indexer, SamplePlacement,
};

impl<'a> Indexer<'a> {
    /// The family under its name in the body.
    pub(super) fn source(&self, family: u32) -> SourceFamily<'a> {
        self.index.source(family, &self.context)
    }

    /// The index of the family with this name. Adds the family if it is new.
    pub(super) fn family(&mut self, name: SourceName<'a>) -> Result<u32, ErrorKind> {
        if self.last_family.0 == name {
            return Ok(self.last_family.1);
        }
        self.checker.encoding(name.text)?;
        let family = self.family_named(name)?;
        self.last_family = (name, family);
        Ok(family)
    }

    fn family_named(&mut self, name: SourceName<'a>) -> Result<u32, ErrorKind> {
        self.add_template_names();
        let count = self.index.families.len();
        match self.names.entry(name.unescaped()) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(_) if count >= self.context.limits.max_families => {
                Err(ErrorKind::TooManyFamilies)
            }
            Entry::Vacant(new) => {
                self.index
                    .families
                    .push(IndexedFamily::new(NameSpan::within(self.context.body, name)));
                self.matches_template = false;
                Ok(*new.insert(count as u32))
            }
        }
    }

    /// The placement of samples of this name.
    pub(super) fn placement_of(
        &mut self,
        name: SourceName<'a>,
    ) -> Result<SamplePlacement<'a>, ErrorKind> {
        let (family, role) = self.family_of_sample(name)?;
        Ok(self.placement_in(name, family, role))
    }

    /// The placement of samples of this name in a known family.
    pub(super) fn placement_in(
        &self,
        name: SourceName<'a>,
        family: u32,
        role: Role,
    ) -> SamplePlacement<'a> {
        let dialect = self.context.dialect;
        let target_role = self.source(family).destination(role, dialect.naming).role;
        let takes_exemplars = rewrite::takes_exemplars(&name.unescaped());
        // The name in a canonical line.
        let hash = sample_check::hash(&self.state, name.text);
        SamplePlacement { name, hash, family, role, target_role, takes_exemplars }
    }

    /// The family of a sample, as far as it is known at this line. The merge handles types that
    /// occur later or in another instance.
    fn family_of_sample(&mut self, name: SourceName<'a>) -> Result<(u32, Role), ErrorKind> {
        let naming = self.context.source;
        if self.last_family.0 == name {
            return Ok((self.last_family.1, Role::Plain));
        }
        self.add_template_names();
        let plain = name.unescaped();
        if let Some((base, role)) = Role::split(&plain)
            && !self.names.contains_key(&plain)
            && let Some(&family) = self.names.get(base)
            && let Some(IndexedFamily { metric_type: Some(metric_type), .. }) =
                self.family_mut(family)
            && metric_type.has(role, naming)
        {
            return Ok((family, role));
        }
        Ok((self.family(name)?, Role::Plain))
    }

    /// Adds the names of families that were copied from the template.
    fn add_template_names(&mut self) {
        let Self { context, names, index, .. } = self;
        while let Some(family) = index.families.get(names.len()) {
            names.insert(family.name.of(context.body).unescaped(), names.len() as u32);
        }
    }

    pub(super) fn family_mut(&mut self, family: u32) -> Option<&mut IndexedFamily> {
        self.index.families.get_mut(family as usize)
    }
}

impl TextIndex {
    pub(super) fn source<'a>(&self, family: u32, context: &ParseContext<'a>) -> SourceFamily<'a> {
        let family = self.families.get(family as usize);
        SourceFamily {
            name: family.map(|family| family.name.of(context.body)).unwrap_or_default(),
            metric_type: family.and_then(|family| family.metric_type),
            naming: context.source,
            renames: context.renames,
        }
    }
}
