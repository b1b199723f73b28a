#!/bin/bash
# SPDX-License-Identifier: MIT
# format.sh - the C sources are as clang-format leaves them.
set -u
# Each version formats a little differently; Debian 12 has this one.
version=$(clang-format --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" != 14 ]; then
	echo "clang-format 14 is needed, and ${version:-no clang-format} is here; install the package clang-format"
	exit 77
fi
cd "$top_srcdir" || exit 1
# syscalls.def is a table and no C.
find analyzer cli esca-runtime tests -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
