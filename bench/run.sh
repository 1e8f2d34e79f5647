#!/usr/bin/env bash
# What undergo costs: start, attach, detach, and the traced program. `make bench` calls it; GO names the go command.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python bench/attach.py "${UNDERGO_BIG:-$("$GO" env GOROOT)/bin/gofmt}"
.venv/bin/python bench/throughput.py "$GO" "${ROUNDS:-5}"
.venv/bin/python bench/values.py "$GO" "${ROUNDS:-5}"
.venv/bin/python bench/recording.py 500000 20
