# make run    builds edge and serves conf/edge.toml
# make check  gofmt, vet, staticcheck, and every test with the race detector: floors and package comments are among them
# make fuzz   looks for new input that breaks what reads requests, FUZZTIME for each target
# make test   what check does, having installed what the tests need

# Packages that the tests need, and the programs in them that show whether they are there.
packages = chromium curl gcc libc6-dev
programs = chromium curl gcc

FUZZTIME = 30s

.PHONY: run build test check fuzz tools

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

# Installs what is missing where it can: as root on Debian. Elsewhere it says what to install, and the tests that need it are left out,
# each with a word; where CI is set they fail.
tools:
	@missing=; for p in $(programs); do command -v $$p >/dev/null || missing=yes; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(packages) >/dev/null; \
	else \
		echo "Install these packages for all tests to run: $(packages). Without them the browser tests and those with curl are left out."; \
	fi
