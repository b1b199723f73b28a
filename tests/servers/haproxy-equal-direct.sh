#!/bin/bash
# SPDX-License-Identifier: MIT
# haproxy-equal-direct.sh - haproxy-equal.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/haproxy-equal.sh
. "$top_srcdir/tests/servers/haproxy-equal.sh"
