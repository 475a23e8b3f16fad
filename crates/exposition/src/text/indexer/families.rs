//! The families of a body, and which samples belong to them.

use std::collections::hash_map::Entry;

use super::{
    super::{
        check,
        error::ErrorKind,
        families::Role,
        index::{Family, Index, NameSpan},
        rewrite,
        sample::Name,
        task::Task,
        translate::Source,
    },
    Indexer, Previous,
};

impl<'a> Indexer<'a> {
    /// The family as this body names it.
    pub(super) fn source(&self, family: u32) -> Source<'a> {
        self.index.source(family, &self.task)
    }

    /// The family of this name.
    pub(super) fn family(&mut self, name: Name<'a>) -> Result<u32, ErrorKind> {
        if self.last_family.0 == name {
            return Ok(self.last_family.1);
        }
        self.checker.encoding(name.text)?;
        let family = self.family_named(name)?;
        self.last_family = (name, family);
        Ok(family)
    }

    fn family_named(&mut self, name: Name<'a>) -> Result<u32, ErrorKind> {
        self.learn_names();
        let count = self.index.families.len();
        match self.names.entry(name.unescaped()) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(_) if count >= self.task.limits.max_families => {
                Err(ErrorKind::TooManyFamilies)
            }
            Entry::Vacant(new) => {
                self.index.families.push(Family::new(NameSpan::within(self.task.body, name)));
                self.is_in_step = false;
                Ok(*new.insert(count as u32))
            }
        }
    }

    /// Where samples of this name belong.
    pub(super) fn place(&mut self, name: Name<'a>) -> Result<Previous<'a>, ErrorKind> {
        let (family, role) = self.family_of_sample(name)?;
        Ok(self.placed(name, family, role))
    }

    /// What there is to know of samples of this name, which belong to a family.
    pub(super) fn placed(&self, name: Name<'a>, family: u32, role: Role) -> Previous<'a> {
        let dialect = self.task.dialect;
        let target_role = self.source(family).destination(role, dialect.naming).role;
        let takes_exemplars = rewrite::takes_exemplars(&name.unescaped());
        // As it stands in a canonical line.
        let hash = check::hash(&self.state, name.text);
        Previous { name, hash, family, role, target_role, takes_exemplars }
    }

    /// The family that a sample of this name belongs to, as far as this is known
    /// by now: what comes later, here or in another instance, is for the merge.
    fn family_of_sample(&mut self, name: Name<'a>) -> Result<(u32, Role), ErrorKind> {
        let naming = self.task.source;
        if self.last_family.0 == name {
            return Ok((self.last_family.1, Role::Plain));
        }
        self.learn_names();
        let plain = name.unescaped();
        if let Some((base, role)) = Role::of(&plain)
            && !self.names.contains_key(&plain)
            && let Some(&family) = self.names.get(base)
            && let Some(Family { metric_type: Some(metric_type), .. }) = self.family_mut(family)
            && metric_type.has(role, naming)
        {
            return Ok((family, role));
        }
        Ok((self.family(name)?, Role::Plain))
    }

    /// Takes note of the names of families that came as the model has them.
    fn learn_names(&mut self) {
        let Self { task, names, index, .. } = self;
        while let Some(family) = index.families.get(names.len()) {
            names.insert(family.name.of(task.body).unescaped(), names.len() as u32);
        }
    }

    pub(super) fn family_mut(&mut self, family: u32) -> Option<&mut Family> {
        self.index.families.get_mut(family as usize)
    }
}

impl Index {
    pub(super) fn source<'a>(&self, family: u32, task: &Task<'a>) -> Source<'a> {
        let family = self.families.get(family as usize);
        Source {
            name: family.map(|family| family.name.of(task.body)).unwrap_or_default(),
            metric_type: family.and_then(|family| family.metric_type),
            naming: task.source,
            renames: task.renames,
        }
    }
}
