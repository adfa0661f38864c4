#!/bin/sh
# The data plane alone, with real packets: a parent that has nothing else
# (plane.c), the real tunnel process, two hosts.
set -u
. regress/domain/lib.sh
domain_start
pair
export PYTHONDONTWRITEBYTECODE=1
python3 regress/tunnel/tunnel.py "$NS" "$PWD/$B" "$T"
