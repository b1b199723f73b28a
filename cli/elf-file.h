/* SPDX-License-Identifier: MIT */
/* elf-file.h - read from x86-64 ELF files what decides whether a server's calls can be seen. */
#ifndef ESCA_CLI_ELF_FILE_H
#define ESCA_CLI_ELF_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct elf - a file, mapped; nothing in it is trusted. All tables lie inside the map, those that
 * the file does not have are empty.
 */
struct elf {
	const uint8_t *map;
	size_t size;
	const Elf64_Phdr *ph;
	size_t nph;
	const Elf64_Shdr *sh;
	size_t nsh;
	const Elf64_Dyn *dyn;
	size_t ndyn;
	uint64_t strings; /* file offset of the dynamic string table, 0: none */
};

/** elf_open() - map @path. Return: 0, negative errno, or -ENOEXEC for what is not x86-64 ELF. */
int elf_open(struct elf *e, const char *path);
void elf_close(struct elf *e);

/** elf_section() - has it a section of that name? */
bool elf_section(const struct elf *e, const char *name);

/** elf_dynamic() - the @n-th (from 0) string of the dynamic entries @tag, NULL if there is none. */
const char *elf_dynamic(const struct elf *e, int64_t tag, size_t n);

/** elf_imports() - does it take the symbol @name from another file? */
bool elf_imports(const struct elf *e, const char *name);

/** struct elf_site - an instruction syscall; @nr: the number of the call. */
struct elf_site {
	uint64_t addr;
	long nr;
};

/**
 * elf_syscalls() - the instructions syscall in @e whose number stands in the code before them, as
 * compilers write them. The bytes alone are in every larger program by chance; without a number
 * they are not taken for one. Return: how many there are; at most @max are in @list.
 */
size_t elf_syscalls(const struct elf *e, struct elf_site *list, size_t max);

/** elf_function() - the name of the function that holds @addr, NULL where the file has none. */
const char *elf_function(const struct elf *e, uint64_t addr);

#endif
