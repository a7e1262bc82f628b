# `verify` never writes to the sources; `fix` does.
.PHONY: verify fix test demo sim chaos bench deny

CARGO ?= cargo

verify:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p umbel-sims --no-default-features --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	$(CARGO) test -p umbel-sims --test house

fix:
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

test:
	$(CARGO) test --workspace

demo:
	$(CARGO) run --release -- demo

sim:
	$(CARGO) run -p umbel-sims --bin umbel-sim -- run --seeds 500

chaos:
	$(CARGO) run -p umbel-sims --bin umbel-sim -- chaos --minutes 10

bench:
	$(CARGO) bench -p umbel-actors --bench local -- --json
	$(CARGO) bench -p umbel-services --bench services -- --json
	$(CARGO) bench -p umbel-supervision -- --json
	$(CARGO) bench -p umbel-cluster --bench remote -- --json
	$(CARGO) bench -p umbel-cluster --bench registry
	$(CARGO) bench -p umbel-cluster-services --bench services -- --json

# Needs cargo-deny. Advisories need a network: `cargo deny check`.
deny:
	$(CARGO) deny check bans licenses sources
