#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-equal-direct.sh - nginx-equal.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/nginx-equal.sh
. "$top_srcdir/tests/servers/nginx-equal.sh"
