#!/usr/bin/env bash
# Traces the example shop while it serves its own clients: first a summary, then single calls.
# Called by `make demo`; UNDERGO names undergo, GO the go command.
set -euo pipefail
cd "$(dirname "$0")/.."

undergo=${UNDERGO:-.venv/bin/undergo}
go=${GO:-go}
folder=$PWD/.cache/shop
mkdir -p "$folder"

if [ "$(id -u)" != 0 ]; then
	echo "demo: tracing takes root; run: sudo make demo" >&2
	exit 4
fi

echo "demo: building the shop"
(cd examples/shop && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-mod=mod GOCACHE="${GOCACHE:-$folder/../gocache}" \
	"$go" build -o "$folder/shop" .)

"$folder/shop" -load 4 -pace 200 -duration 60s >"$folder/log" 2>&1 &
shop=$!
trap 'kill "$shop" 2>/dev/null || true; wait "$shop" 2>/dev/null || true' EXIT

# The first answer of the shop is the line that says where it listens.
for _ in $(seq 100); do
	grep -q 'listening' "$folder/log" && break
	kill -0 "$shop" || { cat "$folder/log" >&2; exit 1; }
	sleep 0.1
done
grep -q 'listening' "$folder/log"

heading() { printf '\n\033[1m$ undergo %s\033[0m\n' "$*"; }
show() {
	heading "$@"
	"$undergo" "$@"
}

echo "demo: the shop is pid $shop; its handlers for five seconds"
show latency -p "$shop" -f 'main.*handle*' --duration 5s
echo
echo "demo: some requests, call by call"
show trace -p "$shop" -f 'main.*' --duration 5s --max-calls 60
echo
echo "demo: done; try \`undergo --help\`"
