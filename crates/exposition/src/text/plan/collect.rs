//! What all instances say of their families, under the names of the output.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::{
    super::{
        dialect::Dialect, families::Role, index::Family, instance::Instance, planned::Text,
        translate::Source,
    },
    Known,
};

/// The families of all instances.
pub(super) struct Collected {
    /// In the order of their first appearance.
    pub(super) known: Vec<Known>,
    pub(super) names: HashMap<Box<[u8]>, usize, RandomState>,
    /// For each instance and each of its families, where its samples go.
    places: Vec<Vec<Place>>,
    /// Those that go to several families.
    spread: Vec<Vec<(Role, u32, Role)>>,
    /// How many families have a unit.
    pub(super) units: usize,
}

/// Where in `known` the samples of an instance's family go.
#[derive(Clone, Copy)]
enum Place {
    /// All to one, with the roles that they have.
    Same(u32),
    /// As it stands in `spread`.
    Spread(u32),
}

impl Collected {
    pub(super) fn new(instances: &[Instance], dialect: &Dialect) -> Self {
        let mut collected = Self {
            known: Vec::new(),
            names: HashMap::default(),
            places: Vec::with_capacity(instances.len()),
            spread: Vec::new(),
            units: 0,
        };
        for (i, instance) in instances.iter().enumerate() {
            let mut places = Vec::with_capacity(instance.index.families.len());
            let mut likely = 0;
            for (f, family) in instance.index.families.iter().enumerate() {
                let place = collected.add(instance, (i, f), family, dialect, &mut likely);
                places.push(place);
            }
            collected.places.push(places);
        }
        collected.units = collected.known.iter().filter(|known| known.unit.is_some()).count();
        collected
    }

    /// Adds what one instance says of a family.
    fn add(
        &mut self,
        instance: &Instance,
        (i, f): (usize, usize),
        family: &Family,
        dialect: &Dialect,
        likely: &mut usize,
    ) -> Place {
        let source = instance.source(f as u32);
        let text = |span| Text { instance: i as u32, span };
        if source.stays_whole(dialect.naming) {
            let place = self.place_of(source, dialect, likely);
            if let Some(known) = self.known.get_mut(place) {
                known.hear(family, text);
                known.types.extend(source.metric_type);
                known.shape.join(family.shape);
                known.roles = known.shape.roles;
            }
            return Place::Same(place as u32);
        }
        let mut roles = family.shape.roles;
        if roles.is_empty() {
            roles.insert(source.main_role());
        }
        let mut spread: Vec<(Role, u32, Role)> = Vec::new();
        for role in roles.iter() {
            let to = source.destination(role, dialect.naming);
            let name = source.target_name(&to, dialect);
            let place = self.place(&name, likely);
            let Some(known) = self.known.get_mut(place) else { continue };
            if to.is_split_off() {
                known.follows = spread.first().map(|&(_, place, _)| place as usize);
            }
            if spread.is_empty() || known.follows.is_some() {
                known.hear(family, text);
            }
            known.types.extend(to.metric_type);
            known.shape.join(family.shape.in_role(role, to.role));
            known.roles = known.shape.roles;
            spread.push((role, place as u32, to.role));
        }
        match spread.first() {
            Some(&(_, place, _)) if spread.iter().all(|one| one.1 == place && one.0 == one.2) => {
                Place::Same(place)
            }
            _ => {
                self.spread.push(spread);
                Place::Spread(self.spread.len() as u32 - 1)
            }
        }
    }

    /// The place of a family that keeps its name.
    fn place_of(&mut self, source: Source<'_>, dialect: &Dialect, likely: &mut usize) -> usize {
        // A name that is known is one that needs no other form.
        if !source.name.is_quoted
            && self.known.get(*likely).is_some_and(|known| *known.name == *source.name.text)
        {
            *likely += 1;
            return *likely - 1;
        }
        self.place(&source.family_name(dialect), likely)
    }

    /// The place of the family with this name. Instances mostly name them in
    /// the same order, so the one after the last is looked at first.
    fn place(&mut self, name: &[u8], likely: &mut usize) -> usize {
        // The same again, where several roles go to one family.
        let is_here =
            |place: &usize| self.known.get(*place).is_some_and(|known| *known.name == *name);
        let found = [*likely, likely.wrapping_sub(1)].into_iter().find(is_here);
        let place = found.unwrap_or_else(|| self.place_named(name));
        *likely = place + 1;
        place
    }

    pub(super) fn place_named(&mut self, name: &[u8]) -> usize {
        if let Some(&place) = self.names.get(name) {
            return place;
        }
        let place = self.known.len();
        self.known.push(Known::new(name));
        self.names.insert(name.into(), place);
        place
    }

    /// Where the samples in `role` of an instance's family are written.
    pub(super) fn target_of(&self, instance: usize, family: u32, role: Role) -> usize {
        let place = self.places.get(instance).and_then(|places| places.get(family as usize));
        let (place, role) = match place {
            Some(&Place::Same(place)) => (place, role),
            Some(&Place::Spread(spread)) => self
                .spread
                .get(spread as usize)
                .and_then(|spread| spread.iter().find(|one| one.0 == role))
                .map_or((0, role), |&(_, place, role)| (place, role)),
            None => (0, role),
        };
        let known = self.known.get(place as usize);
        known.and_then(|known| known.goes_to.get(role as usize)).copied().unwrap_or_default()
    }
}
