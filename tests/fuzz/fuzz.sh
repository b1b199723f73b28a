#!/bin/bash
# SPDX-License-Identifier: MIT
# fuzz.sh - replay each corpus, with damage, through its parser.
set -eu
for target in trace text profile; do
	echo "fuzz-$target"
	"${top_builddir:?}/tests/fuzz/fuzz-$target" "${top_srcdir:?}/tests/fuzz/corpus/$target"
done
"$top_builddir/tests/fuzz/fuzz-text" "$top_srcdir/tests/cases/proxy.trace"
