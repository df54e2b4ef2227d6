"""Event types generated from proto/terrazzo/v1 by proto/generate.sh. Not edited by hand."""
