# build run test check gen fuzz bench interop soak bench-kamailio bench-overload bench-registrations: see README.md.

GO       ?= go
FUZZTIME ?= 10m
BENCH    ?= ^Benchmark(Parse|Append|Register|Forward|InviteFork1|InviteFork4)$$
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: bench-turn all build run test check gen fuzz bench interop soak bench-kamailio bench-overload bench-registrations tools

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o signalbox ./cmd/signalbox

# No configuration, no root: prints addresses and ready users. Arguments: make run ARGS='--udp :5070'
run:
	$(GO) run ./cmd/signalbox dev $(ARGS)

# The outside peers: SIPp, baresip, linphonec, Kamailio, and a C compiler for the race detector.
tools:
	@interop/tools.sh install

test: tools
	@echo '== go test'
	$(GO) test -vet=off $$(interop/tools.sh race) -shuffle=on -parallel 8 -timeout 15m ./...
	@interop/tools.sh report

check:
	@echo '== gofmt'
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }
	@echo '== go vet'
	$(GO) vet ./...
	@echo '== staticcheck'
	$(GO) tool staticcheck ./...
	@echo '== floors'
	$(GO) test -vet=off ./internal/floors
	@echo '== rfc'
	$(GO) run ./rfc
	git diff --exit-code -- rfc/COVERAGE.md interop/RESULTS.md

# What is generated and committed. rfc/toc is made from the standards' texts, which are not part of the tree: go run ./rfc toc DIR.
gen:
	$(GO) generate ./...
	$(GO) run ./rfc

# Every fuzz target in turn, FUZZTIME each.
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -vet=off -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "== $$pkg $$target"; \
			$(GO) test -vet=off -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# The Go benchmarks of docs/bench/go.md, compared with the figures committed there. Others: make bench BENCH=Lookup, BENCH=. for all (half an hour)
bench:
	$(GO) test -vet=off -run '^$$' -bench '$(BENCH)' -benchmem -count 6 ./internal/... ./location ./registrar ./proxy | tee bench.out
	@test ! -f docs/bench/go.txt || $(GO) tool benchstat docs/bench/go.txt bench.out

# The stories of SIPp, baresip and Linphone against the real program; writes interop/RESULTS.md.
interop: tools
	$(GO) test -vet=off -count 1 -parallel 8 -v ./interop -update

# Signalbox and Kamailio in turn, the same scenarios at the same rate. Arguments: make bench-kamailio ARGS='-rounds 5 -peak'
bench-kamailio: tools
	$(GO) run ./interop/bench $(ARGS)

# What Signalbox makes of more calls than it can carry: docs/bench/overload.md.
bench-overload: tools
	$(GO) run ./interop/bench -overload -users 2000 $(ARGS)

# Registrations that are on disk before their 200, and a million bindings: docs/bench/registrations.md.
bench-registrations: tools
	$(GO) run ./interop/bench -registrations $(ARGS)

# Two hundred times kill -9, and as many power cuts, under registrations. About an hour.
soak:
	$(GO) test -vet=off -count 1 -timeout 3h -v -run 'TestKillUnderLoad|TestPowerCut|TestDiskFull' ./interop -soak 200

# Relays of Signalbox and of coturn in turn. Arguments: make bench-turn ARGS='-clients 100 -cpu 0'
bench-turn: tools
	$(GO) run ./interop/bench/turn $(ARGS)
