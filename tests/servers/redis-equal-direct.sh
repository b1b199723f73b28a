#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-equal-direct.sh - redis-equal.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/redis-equal.sh
. "$top_srcdir/tests/servers/redis-equal.sh"
