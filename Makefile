# Every target but test-browser needs only Go.
.PHONY: build test vet fmt lint race fuzz bench demo ci test-browser

build:
	go build -o bin/tallystick ./cmd/tallystick

test:
	go test ./...

vet:
	go vet ./...

fmt:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
lint:
	go run $(STATICCHECK) ./...

# The packages that run goroutines. What the demo runs, the other tests of cmd run.
race:
	go test -race ./batch/... ./stream/... ./store/... ./schemas/registry ./transforms/reading
	go test -race -skip TestDemo ./cmd/...

# A short fuzz of every decoder; FUZZTIME=10m for a long one.
FUZZTIME ?= 10s
fuzz:
	go test ./transforms -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME)
	go test ./transforms -run '^$$' -fuzz '^FuzzParseTable$$' -fuzztime $(FUZZTIME)
	go test ./schemas/avro -run '^$$' -fuzz '^FuzzDecode$$' -fuzztime $(FUZZTIME)
	go test ./schemas/avro -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME)
	go test ./schemas/avro -run '^$$' -fuzz '^FuzzLookup$$' -fuzztime $(FUZZTIME)

# The report page in headless Chromium, which must be on PATH.
test-browser:
	go test -tags browser ./store/reconcile -run Browser -count 1

# What docs/performance.md states.
bench:
	@git rev-parse --short HEAD
	go test ./transforms ./schemas/avro -run '^$$' -bench . -benchtime 2000000x

demo:
	go run ./cmd/tallystick demo

ci: fmt vet lint test race fuzz
