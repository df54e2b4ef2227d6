#!/usr/bin/env bash
# Writes the Python event types from proto/ into the schema library. `make check` runs it and refuses drift.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
out="${1:-libs/schema/terrazzo_schema/_generated}"
rm -rf "$out" && mkdir -p "$out"
PATH="$(dirname "$python"):$PATH" "$python" -m grpc_tools.protoc -I proto \
  --python_out="$out" --mypy_out="quiet:$out" proto/terrazzo/v1/*.proto
# protoc writes absolute imports from the proto root; the package is nested, so they are made relative.
for file in "$out"/terrazzo/v1/*_pb2.py "$out"/terrazzo/v1/*_pb2.pyi; do
  sed -i -E 's/^from terrazzo\.v1 import/from . import/; s/^import terrazzo\.v1\.([a-z_]+)_pb2 as/from . import \1_pb2 as/' "$file"
done
mv "$out"/terrazzo/v1/* "$out" && rm -r "$out/terrazzo"
printf '"""Event types generated from proto/terrazzo/v1 by proto/generate.sh. Not edited by hand."""\n' >"$out/__init__.py"
