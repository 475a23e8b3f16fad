# The commands of this project. `make run` shows the main job, `make test` runs
# every test; both need nothing prepared but a Rust toolchain (rustup).

.PHONY: run test lint bench

run:
	cargo run --locked -- demo

test:
	scripts/install-test-tools
	scripts/with-postgres cargo test --locked --workspace

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

bench:
	cargo bench --locked --workspace
