#!/usr/bin/env bash
# The committed event types must be what proto/ generates, and no released event may break.
# `buf breaking` compares with the image of the last release (proto/released.binpb), offline.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
proto/generate.sh "$fresh/_generated"
diff -r -x __pycache__ "$fresh/_generated" libs/schema/terrazzo_schema/_generated || {
  echo "the generated event types are stale: run 'make proto'" >&2
  exit 1
}
buf breaking --against proto/released.binpb
