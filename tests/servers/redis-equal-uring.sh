#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-equal-uring.sh - redis-equal.sh with the backend uring.
# shellcheck disable=SC2034
backend=uring
# shellcheck source=tests/servers/redis-equal.sh
. "$top_srcdir/tests/servers/redis-equal.sh"
