#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-more-direct.sh - nginx-more.sh with the backend direct.
# shellcheck disable=SC2034
backend=direct
# shellcheck source=tests/servers/nginx-more.sh
. "$top_srcdir/tests/servers/nginx-more.sh"
