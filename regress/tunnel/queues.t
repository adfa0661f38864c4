#!/bin/sh
# A TEP's interface with several queues, each with a tunnel process of its own:
# real packets of many flows, both ways.
set -u
. regress/domain/lib.sh
domain_start
pair
export PYTHONDONTWRITEBYTECODE=1
python3 regress/tunnel/queues.py "$NS" "$PWD/$B" "$T"
