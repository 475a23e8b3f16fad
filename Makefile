# Development commands. They require a Rust toolchain (rustup) and a C compiler.

.PHONY: run test lint audit bench static dist check-packages

run:
	@scripts/run-demo

# Most tests wait for other programs, so there are two threads per core.
test: export RUST_TEST_THREADS ?= $(shell expr 2 '*' $$(nproc))
test:
	scripts/install-test-tools
	scripts/with-postgres cargo test --locked --workspace

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo clippy --locked --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

audit:
	scripts/audit

bench:
	scripts/with-postgres cargo bench --locked --workspace

# Prints the path of the program.
static:
	@scripts/build-static

# The files of a release, in target/dist.
dist:
	scripts/dist

check-packages:
	scripts/check-packages
