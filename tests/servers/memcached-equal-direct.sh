#!/bin/bash
# SPDX-License-Identifier: MIT
# memcached-equal-direct.sh - memcached-equal.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/memcached-equal.sh
. "$top_srcdir/tests/servers/memcached-equal.sh"
