# make run    builds edge and serves conf/edge.toml
# make check  gofmt, vet, staticcheck, and every test: floors and package comments are among them. Those of packages run with the race detector, and of
#             those that start real processes, which are as slow again with it, the ones in which most happens at once
# make fuzz   looks for new input that breaks what reads requests and answers (FUZZTIME for each target), the configuration and more (FUZZSHORT)
# make test   what check does, having installed what the tests need
# make conformance   asks edge, nginx, haproxy and net/http about every request of the table, has slow clients besiege edge, other
#                    people's programs ask it and testssl look at its TLS, and writes the figures of docs/CONFORMANCE.md; then gRPC's
#                    client asks gRPC's server through it (test/grpc, a module of its own)
# make timing asks, 5 times 1000 in turns, whether an answer to a login takes as long for an unknown user as for a known one: within 5 %, and 3 µs beside
# the hash. A quarter of an hour
# make pgo    makes default.pgo anew, by which the compiler knows what runs most
# make drill  reloads edge 200 times and upgrades it 30 times, 10 of them to a process that cannot take over, under clients that never retry, in
#             a network namespace of its own where that is permitted, and prints what was lost: nothing, or it fails. Two minutes, for which it needs the
#             machine for itself
# make drill-long  the same with 5000 reloads and 300 upgrades, for some 20 minutes. No part of CI
# make screens   takes pictures of every login page into docs/screens, with Debian's Chromium and a Chinese font (fonts-wqy-microhei). No part of CI
# make bench  measures edge beside nginx, HAProxy and Caddy, for 14 minutes; BENCH="-write" keeps the table, BENCH="-works h2-1k,grpc -rounds 3" is a
#             part of it. The results are in bin/bench.json too. No part of CI
# make bench-sessions  measures what a login adds to a relayed request, at 100,000 sessions, what memory they take and how many log in a second: two
#             minutes. No part of CI
# make drill-peers   has the clients of the drill ask edge, nginx, haproxy and Caddy, each while it reloads or replaces its program: seven minutes,
#                    for the table in docs/ZERO-LOSS.md. No part of CI. PEERS="-only nginx -reloads 5 -for 5s" drills less

# Packages that the tests need, and the programs in them that show whether they are there.
packages = chromium curl gcc libc6-dev nginx haproxy slowhttptest
programs = chromium curl gcc nginx haproxy slowhttptest

# The same for the benchmark. Caddy is no package of Debian's: bench builds it from its source.
bench_packages = nginx haproxy wrk nghttp2-client openssl
bench_programs = nginx haproxy wrk h2load openssl

# And for the peers' drill, which has Caddy as bench has.
peers_packages = nginx libnginx-mod-stream haproxy
peers_programs = nginx haproxy

# And for conformance, beside both.
conformance_packages = redis-server redis-tools hey testssl.sh prometheus
conformance_programs = redis-server redis-cli hey testssl promtool

# For what reads requests and answers, and for all else that reads what others wrote.
FUZZTIME = 30s
FUZZSHORT = 5s
BENCH =
PEERS =

.PHONY: run build test check timing fuzz conformance tools pgo drill drill-long screens bench bench-sessions bench-tools conformance-tools

run: build
	exec bin/edge -c conf/edge.toml

build:
	go build -o bin/edge .

test: tools check

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	@echo "go test -race, beside go test of the root"; out=$$(mktemp); \
	go test -race -pgo=off -timeout 14m $$(go list ./... | grep -vx edge) >$$out 2>&1 & packages=$$!; trap 'kill $$packages; exit 1' INT TERM; \
	go test -timeout 14m -skip '$(LARGER)' .; root=$$?; \
	wait $$packages; status=$$?; cat $$out; rm -f $$out; exit $$((root + status))
	go test -race -pgo=off -timeout 14m -run '$(RACED)' .
	go test -run '$(LARGER)' . ./conf ./edge/accesslog ./edge/h1 ./edge/proxy ./edge/static ./edge/upstream ./edge/wire

# Of the tests of real processes those that run with the race detector too.
RACED = ^(TestUpgradeLosesNothing|TestDrill|TestCountersNeverGoBack|TestLoginSurvivesSignals|TestRevocationClosesWebSockets|TestRetireOldest|TestAttackAcrossGenerations)$$

# What counts memory or time: the race detector makes it larger, and so do tests beside it.
LARGER = Alloc|Stack|Thousand

timing:
	go test -count=1 -v -timeout 60m -run '^TestTiming$$' ./sessions/users -timing

# Go's fuzzing coordinator may take the end of its time for a failure, "context deadline exceeded", where its workers get no CPU just then
# (go.dev/issue/75804). That is no find: a find says which file holds its input. A number of inputs in place of a time would not run into this,
# but how long it takes is anybody's guess. All else that fails is a failure.
define fuzz
@echo "fuzz $(1), $(3)"; \
out=$$(go test -run '^$$' -fuzz '^$(1)$$' -fuzztime $(3) $(2) 2>&1); status=$$?; echo "$$out" | tail -n 30; \
if [ $$status = 0 ]; then exit 0; fi; \
case "$$out" in \
	*"Failing input"*|*panic:*) exit 1;; \
	*"$$(printf '\n    context deadline exceeded\nFAIL')"*) echo "the time ran out, and nothing was found";; \
	*) exit 1;; \
esac
endef

fuzz:
	$(call fuzz,FuzzHead,./edge/h1,$(FUZZTIME))
	$(call fuzz,FuzzChunks,./edge/h1,$(FUZZTIME))
	$(call fuzz,FuzzAnswer,./edge/h1,$(FUZZTIME))
	$(call fuzz,FuzzFrames,./edge/h2,$(FUZZSHORT))
	$(call fuzz,FuzzAnswerFrames,./edge/h2,$(FUZZSHORT))
	$(call fuzz,FuzzCheck,./edge/wire,$(FUZZTIME))
	$(call fuzz,FuzzCanonicalHost,./edge/wire,$(FUZZTIME))
	$(call fuzz,FuzzRanges,./edge/static,$(FUZZSHORT))
	$(call fuzz,FuzzAcceptEncoding,./edge/static,$(FUZZSHORT))
	$(call fuzz,FuzzTags,./edge/static,$(FUZZSHORT))
	$(call fuzz,FuzzHeader,./listeners/proxyproto,$(FUZZSHORT))
	$(call fuzz,FuzzForwarded,./edge/forwarded,$(FUZZSHORT))
	$(call fuzz,FuzzLines,./edge/accesslog,$(FUZZSHORT))
	$(call fuzz,FuzzParse,./conf,$(FUZZSHORT))

conformance: tools conformance-tools
	CI=true PATH="$$PATH:$(CURDIR)/bin" CONFORMANCE=docs/CONFORMANCE.md go test -count=1 -timeout 15m \
		-run '^(TestConformance|TestPeers|TestSlowClients|TestH2Spec|TestClients|TestRedisThroughTunnels|TestPromtool|TestScan)$$' .
	cd test/grpc && go vet ./... && go test -count=1 ./...

# The profile leaves readRecordOrCCS out, so that its callees stand directly below crypto/tls's Read and are put into it: only then the
# compiler sees that the reader which each of them makes stays on the stack. TestAllocRelay counts that.
pgo:
	mkdir -p bin
	go test -c -o bin/edge.test .
	cd bin && ./edge.test -test.run '^$$' -test.bench 'Relay$$' -test.benchtime 30s -test.cpuprofile edge.prof
	go tool pprof -proto -hide readRecordOrCCS -output default.pgo bin/edge.test bin/edge.prof

DRILL = --reloads 200 --upgrades 30 --for 90s
drill-long: DRILL = --reloads 5000 --upgrades 300 --for 15m

drill drill-long: build
	@if unshare -rn ip link set lo up 2>/dev/null; then \
		exec unshare -rn sh -c 'ip link set lo up && exec bin/edge drill --alone $(DRILL)'; \
	else \
		exec bin/edge drill $(DRILL); \
	fi

.PHONY: drill-peers

drill-peers: build
	$(call install,$(peers_programs),$(peers_packages),The drill fails without them.)
	@test -e /usr/lib/nginx/modules/ngx_stream_module.so || echo "Install libnginx-mod-stream too. Without it nginx relays no tunnels here."
	go build -o bin/peers ./reload/drill/peers
	exec bin/peers $(PEERS)

screens: tools
	mkdir -p docs/screens
	go test -count=1 -run '^TestScreens' . -screens docs/screens

bench: bench-tools
	go build -o bin/bench ./bench
	exec bin/bench $(BENCH)

bench-sessions: bench-tools
	go build -o bin/bench ./bench
	exec bin/bench -sessions 100000 -seconds 3 $(BENCH)

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
tools: oidc-tools
	$(call install,$(programs),$(packages),Without them the browser tests and those with curl, nginx and haproxy are left out.)

# The OpenID provider of the browser tests, of the versions of test/oidc/package-lock.json, in a cache outside the tree.
oidc_cache = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/edge/oidc-provider

oidc-tools:
	$(call install,node npm,nodejs npm,Without them the browser test of logging in elsewhere is left out.)
	@if command -v npm >/dev/null && ! cmp -s test/oidc/package-lock.json "$(oidc_cache)/package-lock.json"; then \
		rm -rf "$(oidc_cache)" && mkdir -p "$(oidc_cache)" && cp test/oidc/package.json test/oidc/package-lock.json "$(oidc_cache)" && cd "$(oidc_cache)" && \
		npm ci --no-audit --no-fund --ignore-scripts --loglevel=error || { rm -rf "$(oidc_cache)"; echo "npm does not install test/oidc: the browser test of logging in elsewhere is left out."; }; \
	fi

# h2spec is no package of Debian's, and its release tags are not on the module proxy: "latest" is the last one that is.
conformance-tools: bench-tools
	$(call install,$(conformance_programs),$(conformance_packages),The tests that need them fail.)
	test -x bin/h2spec || GOBIN=$(CURDIR)/bin go install github.com/summerwind/h2spec/cmd/h2spec@latest

bench-tools:
	$(call install,$(bench_programs),$(bench_packages),A peer that is missing is left out; nginx must be there as it is the origin too.)
