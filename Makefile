# make run    builds edge and serves conf/edge.toml
# make check  gofmt, vet, staticcheck, and every test with the race detector: floors and package comments are among them
# make fuzz   looks for new input that breaks what reads requests, FUZZTIME for each target
# make test   what check does, having installed what the tests need
# make conformance   asks edge, nginx, haproxy and net/http about every request of the table, has slow clients besiege edge, and
#                    writes the figures of docs/CONFORMANCE.md

# Packages that the tests need, and the programs in them that show whether they are there.
packages = chromium curl gcc libc6-dev nginx haproxy slowhttptest
programs = chromium curl gcc nginx haproxy slowhttptest

FUZZTIME = 30s

.PHONY: run build test check fuzz conformance tools

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

# Go's fuzzing coordinator may take the end of FUZZTIME for a failure, "context deadline exceeded", where its workers get no CPU just then
# (go.dev/issue/75804). That is no find: a find says which file holds its input. A number of inputs in place of a time would not run into this,
# but how long it takes is anybody's guess. All else that fails is a failure.
define fuzz
@echo "fuzz $(1), $(FUZZTIME)"; \
out=$$(go test -run '^$$' -fuzz '^$(1)$$' -fuzztime $(FUZZTIME) $(2) 2>&1); status=$$?; echo "$$out" | tail -n 30; \
if [ $$status = 0 ]; then exit 0; fi; \
case "$$out" in \
	*"Failing input"*|*panic:*) exit 1;; \
	*"$$(printf '\n    context deadline exceeded\nFAIL')"*) echo "the time ran out, and nothing was found";; \
	*) exit 1;; \
esac
endef

fuzz:
	$(call fuzz,FuzzHead,./edge/h1)
	$(call fuzz,FuzzChunks,./edge/h1)
	$(call fuzz,FuzzAnswer,./edge/h1)
	$(call fuzz,FuzzCheck,./edge/wire)
	$(call fuzz,FuzzCanonicalHost,./edge/wire)

conformance: tools
	CONFORMANCE=docs/CONFORMANCE.md go test -count=1 -timeout 10m -run '^(TestConformance|TestPeers|TestSlowClients)$$' .

# Installs what is missing where it can: as root on Debian. Elsewhere it says what to install, and the tests that need it are left out,
# each with a word; where CI is set they fail.
tools:
	@missing=; PATH=$$PATH:/usr/sbin; for p in $(programs); do command -v $$p >/dev/null || missing=yes; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(packages) >/dev/null; \
	else \
		echo "Install these packages for all tests to run: $(packages). Without them the browser tests and those with curl, nginx and haproxy are left out."; \
	fi
