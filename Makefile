# Every target but test-real, test-engines, pgo, bench-stream, bench-replay, bench-train,
# bench-ceilings, test-browser, up, replay-parts, down and test-docker needs only Go.
.PHONY: build pgo test test-real test-replay test-engines vet fmt lint race fuzz sim mutants bench bench-stream bench-replay bench-train bench-ceilings demo ci test-browser up replay-parts down test-docker gate e2e

# What the compiler is told of where the program spends its time: replay and training take
# 7 % less with it, and compiling twice as long.
PGO = cmd/tallystick/release.pgo

build:
	go build -pgo=$(PGO) -o bin/tallystick ./cmd/tallystick

# That anew, from the workload of the benchmarks.
pgo:
	go run -tags real ./integration/bench profile

test:
	go test ./...

# The program on real servers, with their faults: integration/servers says where
# they come from. REAL='-run TestSentinel -short' for less, REAL=-write to put the
# figures into docs/reliability.md; TALLYSTICK_TEST_REDIS_SERVER=valkey-server for
# another server.
REAL ?=
export TALLYSTICK_TEST_REDIS_SERVER
test-real:
	go test -tags real ./integration/servers -count 1
	go test -tags real ./store/offline ./cmd/tallystick -run S3 -count 1 $(filter -short,$(REAL))
	go test -tags real ./integration/real -count 1 -timeout 60m -v $(REAL)

# delta-rs, DuckDB and Spark read our tables, in a directory and on S3: it takes
# Python 3, a JDK from 17 on and Maven, and fetches 1.5 GB into the user's cache
# directory once.
test-engines:
	go test -tags real,engines ./store/offline -run TestEngines -count 1 -timeout 30m -v

vet:
	go vet -tags real,mutants,engines ./...

fmt:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
lint:
	go run $(STATICCHECK) -tags real,mutants,engines ./...

# The packages that run goroutines (store/reconcile runs none: it counts for whoever shows
# its progress, which cmd's tests do), by name: a test tells which are missing. Of cmd what
# streams, serves and works by the clock, and a replay: the others are of files, or run the
# program again and again.
race:
	go test -race ./batch/... ./stream/... ./store/gate ./store/log ./store/offline ./store/online ./store/spill ./schemas/registry ./transforms/reading
	go test -race -run "Stream|Guard|Daemons|Round|Restored|RunOnServers|Stop|Within|Lag|Listen|Probes|Reconcile|TestReplayFromDate$$|TestGateHolds$$" ./cmd/...

# A short fuzz of every decoder, some 15 seconds each; FUZZTIME=10m for a long one. Inputs are
# counted, as a fuzz that ends by the clock may fail for none (golang/go#75804).
fuzz:
	go test ./transforms -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(or $(FUZZTIME),20000x)
	go test ./transforms -run '^$$' -fuzz '^FuzzParseTable$$' -fuzztime $(or $(FUZZTIME),25000x)
	go test ./batch -run '^$$' -fuzz '^FuzzKept$$' -fuzztime $(or $(FUZZTIME),100000x) -fuzzminimizetime 1x
	go test ./store/spill -run '^$$' -fuzz '^FuzzBlocks$$' -fuzztime $(or $(FUZZTIME),400000x) -fuzzminimizetime 1x
	go test ./store/gate -run '^$$' -fuzz '^FuzzUnmarshal$$' -fuzztime $(or $(FUZZTIME),200000x)
	go test ./store/gate -run '^$$' -fuzz '^FuzzDecode$$' -fuzztime $(or $(FUZZTIME),60000x)
	go test ./schemas/avro -run '^$$' -fuzz '^FuzzDecode$$' -fuzztime $(or $(FUZZTIME),200000x)
	go test ./schemas/avro -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(or $(FUZZTIME),80000x)
	go test ./schemas/avro -run '^$$' -fuzz '^FuzzLookup$$' -fuzztime $(or $(FUZZTIME),250000x)

# All that docs/gate.md says was measured: the honest year and all faults, published and
# streamed.
gate:
	go test ./integration -run 'TestGate|TestGuard' -gate-full -count 1

# More random projects through the whole program, each with an oracle of its own.
e2e:
	go test ./integration -run TestEndToEnd -e2e 15 -count 1

# The report page in headless Chromium, which must be on PATH.
test-browser:
	go test -tags browser ./store/reconcile -run Browser -count 1

# The stream worker in simulated worlds (stream/sim_test.go): 100,000 of them take
# a quarter of an hour on two cores.
SEEDS ?= 100000
sim:
	go test ./stream -run 'TestSimulator|TestTokenIsNoCounter' -sim.seeds=$(SEEDS) -count 1 -timeout 0 -v

# What exactly-once rests on is broken piece by piece; each time a test must fail.
mutants:
	go test -tags mutants ./integration/mutants -count 1 -timeout 30m -v

# What docs/performance.md states.
bench:
	@git rev-parse --short HEAD
	go test -pgo=$(CURDIR)/$(PGO) ./transforms ./schemas/avro -run '^$$' -bench . -benchtime 2000000x

# CPU time of catching up against the least that a consumer takes, and the delay
# when live, on real servers. The last line is the ratio.
bench-stream:
	@go run -tags real ./integration/bench stream

# A replay killed -9 at KILLS random points in each of read, fold, write and publish, and
# run again, from the log's start and going on from tables; in parts; day by day: the
# same bytes.
KILLS ?= 13
test-replay:
	@git rev-parse --short HEAD
	go test ./cmd/tallystick -run '^Test(Replay|ContinuedReplay|DatesReplay)(Killed|DayByDay|InParts)$$' -replay.kills $(KILLS) -count 1 -timeout 20m -v

# CPU time of a backfill against a copy of the topic to Parquet. The last line is the
# ratio.
bench-replay:
	@go run -tags real ./integration/bench replay

# CPU time of a training set, a million labels with both kinds of knowledge, against
# its bound: twice the floor of bench-stream and 4 s. The last line is the ratio.
bench-train:
	@go run -tags real ./integration/bench train

# Replays under ceilings: peak RSS against --memory with hourly boundaries and with one
# entity of half of all events, then --kafka-rate, --store-rate, --parallel and --disk;
# it fails where one is passed. SCENARIO=large has 100 million events of 5 million
# entities, and wants 30 GB of disk and a quarter of an hour.
SCENARIO ?= hourly,hot,limits
bench-ceilings:
	@go run -tags real ./integration/bench ceilings -scenario $(SCENARIO)

demo:
	go run ./cmd/tallystick demo

# The services of docker-compose.yml: docs/compose.md. An older Compose is COMPOSE=docker-compose.
# What the containers write belongs to COMPOSE_USER; with a rootless engine that is 0:0.
# MONITORING=1 starts Prometheus and Grafana too: docs/operations.md.
COMPOSE ?= docker compose
COMPOSE_USER ?= $(shell id -u):$(shell id -g)
COMPOSE_PROJECT_NAME ?= tallystick
export COMPOSE_USER COMPOSE_PROJECT_NAME
up:
	CGO_ENABLED=0 GOOS=linux go build -pgo=$(PGO) -trimpath -ldflags="-s -w" -o bin/linux/tallystick ./cmd/tallystick
	chmod 755 bin/linux/tallystick
	mkdir -p tallystick-compose/tables tallystick-compose/spill tallystick-compose/report tallystick-compose/parts
	$(COMPOSE) $(if $(MONITORING),--profile monitoring) up -d --build
	@echo 'Within two minutes the verdict stands in tallystick-compose/report/report.html. To read a feature:'
	@echo '  go run ./cmd/tallystick get -f examples/flights/tallystick.yaml --redis 127.0.0.1:6379 --at 2014-01-01T00:00:00Z dest_delays dest=SFO'
	@echo 'make down stops it and removes what it wrote.'

# One replay that four processes share, beside what make up has started.
replay-parts:
	$(COMPOSE) --profile replay up --exit-code-from replay-publish replay-publish

down:
	$(COMPOSE) --profile monitoring --profile replay down -v --remove-orphans
	rm -rf tallystick-compose

# make up, a verdict, a feature, make down: it needs a Docker engine.
test-docker:
	go test -tags docker ./cmd/tallystick -run TestDocker -count 1 -timeout 20m -v

ci: fmt vet lint test gate e2e race mutants fuzz
