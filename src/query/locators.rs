//! The kinds of locators.
