#!/bin/bash
# SPDX-License-Identifier: MIT
# includes.sh - who may know whom: the arrows between the folders (HACKING.md), includer to included.
set -u
cd "$top_srcdir" || exit 1
bad=0

# only FOLDER REGEX - the includes of FOLDER that name a folder of ours must match REGEX
only()
{
	local file include

	while IFS=: read -r file include; do
		include=${include#*[<\"]}
		include=${include%%[>\"]*}
		[[ $include =~ ^(analyzer|cli|esca-runtime|kernel-patch|tests)/ ]] || [ -e "$1/$include" ] || continue
		[[ $include =~ ^($2)$ ]] && continue
		echo "$file includes $include, which $1/ must not know"
		bad=1
	done < <(grep -rE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' --include='*.[ch]' --include='*.def' "$1")
}

only analyzer 'analyzer/.*'
only esca-runtime 'esca-runtime/.*|analyzer/syscalls\.def|kernel-patch/uapi/.*'
only cli 'cli/.*|analyzer/.*|esca-runtime/(plan|record|esca)\.h|kernel-patch/uapi/.*'
grep -rnE '\.\./' --include='*.[ch]' analyzer cli esca-runtime | grep '#include' && bad=1

# Pure folders stay pure.
grep -rnwE '(ptrace|fork|vfork|execvp?e?|exit|_exit|abort|printf|puts|putchar|perror)[[:space:]]*\(' --include='*.c' analyzer |
	grep -vE '^[^:]*:[0-9]+:[[:space:]]*(/?\*|\*)' && {
	echo "analyzer/ does no ptrace, exec or exit, and prints only to a FILE * that it is handed"
	bad=1
}
exit $bad
