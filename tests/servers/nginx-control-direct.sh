#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-control-direct.sh - nginx-control.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/nginx-control.sh
. "$top_srcdir/tests/servers/nginx-control.sh"
