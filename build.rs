//! Migrations are compiled in; cargo must see when one is added.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
