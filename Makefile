# make run    builds edge and serves conf/edge.toml
# make check  gofmt, vet, staticcheck, and every test with the race detector: floors and package comments are among them
# make fuzz   looks for new input that breaks what reads requests, FUZZTIME for each target
# make test   what check does, having installed what the tests need
# make bench  measures edge beside nginx, HAProxy and Caddy, for 14 minutes; BENCH="-write" keeps the table. No part of CI

# Packages that the tests need, and the programs in them that show whether they are there.
packages = chromium curl gcc libc6-dev
programs = chromium curl gcc

# The same for the benchmark. Caddy is no package of Debian's: bench builds it from its source.
bench_packages = nginx haproxy wrk nghttp2-client openssl
bench_programs = nginx haproxy wrk h2load openssl

FUZZTIME = 30s
BENCH =

.PHONY: run build test check fuzz tools bench bench-tools

run: build
	exec bin/edge -c conf/edge.toml

build:
	go build -o bin/edge .

test: tools check

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -race -timeout 14m ./...

fuzz:
	go test -run '^$$' -fuzz '^FuzzHead$$' -fuzztime $(FUZZTIME) ./edge/h1
	go test -run '^$$' -fuzz '^FuzzChunks$$' -fuzztime $(FUZZTIME) ./edge/h1
	go test -run '^$$' -fuzz '^FuzzAnswer$$' -fuzztime $(FUZZTIME) ./edge/h1
	go test -run '^$$' -fuzz '^FuzzCheck$$' -fuzztime $(FUZZTIME) ./edge/wire
	go test -run '^$$' -fuzz '^FuzzCanonicalHost$$' -fuzztime $(FUZZTIME) ./edge/wire

bench: bench-tools
	go build -o bin/bench ./bench
	exec bin/bench $(BENCH)

# $(call install,PROGRAMS,PACKAGES,WORD) installs what is missing where it can: as root on Debian. Elsewhere it says what to install, and
# what follows from doing without.
define install
@missing=; for p in $(1); do PATH=$$PATH:/usr/sbin command -v $$p >/dev/null || missing=yes; done; \
if [ -z "$$missing" ]; then exit 0; fi; \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) >/dev/null; \
else \
	echo "Install these packages: $(2). $(3)"; \
fi
endef

# Tests that need what is missing are left out, each with a word; where CI is set they fail.
tools:
	$(call install,$(programs),$(packages),Without them the browser tests and those with curl are left out.)

bench-tools:
	$(call install,$(bench_programs),$(bench_packages),A peer that is missing is left out; nginx must be there as it is the origin too.)
