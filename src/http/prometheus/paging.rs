//! Parts of lists: pages, and rows in one state.

/// One page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paging {
    /// From 1 on.
    pub(super) page: usize,
    pub(super) pages: usize,
    per_page: usize,
}

impl Paging {
    /// The requested page of `total` items, or the last one if there are not so many.
    pub(super) fn new(requested: usize, total: usize, per_page: usize) -> Self {
        let pages = total.div_ceil(per_page).max(1);
        Self { page: requested.clamp(1, pages), pages, per_page }
    }

    /// The items of this page.
    pub(super) fn of<'a, T>(&self, items: &'a [T]) -> &'a [T] {
        items.chunks(self.per_page).nth(self.page - 1).unwrap_or_default()
    }
}

/// A link to the rows in one state.
pub(super) struct StateLink {
    pub(super) href: String,
    pub(super) title: &'static str,
    /// Number of rows.
    pub(super) count: usize,
    pub(super) is_current: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_beyond_the_end_is_the_last_one() {
        let items: Vec<_> = (0..250).collect();
        for (requested, page, first, count) in [
            (0, 1, 0, 100),
            (1, 1, 0, 100),
            (3, 3, 200, 50),
            (4, 3, 200, 50),
            (usize::MAX, 3, 200, 50),
        ] {
            let paging = Paging::new(requested, items.len(), 100);
            let shown = paging.of(&items);
            assert_eq!((paging.page, paging.pages), (page, 3), "{requested}");
            assert_eq!((shown[0], shown.len()), (first, count), "{requested}");
        }
        let none = Paging::new(7, 0, 100);
        assert_eq!((none.page, none.pages, none.of::<u8>(&[])), (1, 1, &[][..]));
    }
}
