#!/bin/bash
# SPDX-License-Identifier: MIT
# script-equal-direct.sh - script-equal.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/script-equal.sh
. "$top_srcdir/tests/servers/script-equal.sh"
